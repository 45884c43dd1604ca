"""Judges that fail: their completions are excluded and counted, and a run whose judges fail too often stops.

A completion that could not be judged leaves its group (`types.Verdict.excluded`) and nothing is learned from it. That
is right for a worker that died once and was started again, and wrong for a sandbox that is gone: the run would go on
with nothing to learn from, or with what happened to be judged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from gainrl.rewards.verdicts import checked
from gainrl.types import Judgement, Problem, Reward, Verdict

WINDOW = 200


class RewardFailures:
    """Counts the completions, of all rewards given to `watched`, whose judge failed (`Judgement.ERROR`).

    ``max_rate``: share of the last ``window`` completions, beyond which ``give_up`` is called with the reason; in a
    run that is younger than that, as many failures. 1 for never. Raises ValueError for values out of range.
    """

    def __init__(self, *, max_rate: float, give_up: Callable[[str], None], window: int = WINDOW) -> None:
        if not 0 <= max_rate <= 1:
            raise ValueError(
                f"faults.reward_failure_rate={max_rate} is no share; type a number from 0 (the first failure stops "
                "the run) to 1 (none does)"
            )
        self.max_rate, self.window = max_rate, window
        self.total = 0
        self._give_up = give_up
        self._recent: deque[bool] = deque(maxlen=window)

    def watched(self, reward: Reward) -> Reward:
        """The same reward, watched; one that raises has failed for all its completions."""
        return _Watched(reward, self)

    def note(self, verdicts: Sequence[Verdict]) -> None:
        failed = [verdict.judgement is Judgement.ERROR for verdict in verdicts]
        self.total += sum(failed)
        self._recent.extend(failed)
        count = sum(self._recent)
        if any(failed) and count > self.max_rate * self.window:
            last = verdicts[max(index for index, one in enumerate(failed) if one)]
            self._give_up(
                f"{count} of the last {len(self._recent)} completions could not be judged, which is more than "
                f"faults.reward_failure_rate={self.max_rate} of {self.window}; the last one: {last.detail}"
            )


class _Watched:
    """Everything of the reward within; its verdicts are checked and noted."""

    def __init__(self, reward: Reward, failures: RewardFailures) -> None:
        self._reward, self._failures = reward, failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reward, name)

    def score(self, completions: Sequence[str], problems: Sequence[Problem], **more: Any) -> list[Verdict]:
        try:
            verdicts = checked(
                self._reward.score(completions, problems, **more), len(completions), type(self._reward).__name__
            )
        except Exception as fault:
            verdicts = [Verdict(Judgement.ERROR, 0.0, detail=f"{type(fault).__name__}: {fault}")] * len(completions)
        self._failures.note(verdicts)
        return verdicts
