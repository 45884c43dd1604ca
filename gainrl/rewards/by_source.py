"""A reward for each source of a mixture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gainrl.rewards.verdicts import checked
from gainrl.types import Judgement, Problem, Reward, Verdict


class RewardBySource:
    """Judges each completion with the reward of its problem's source (`Problem.source_name`).

    ``rewards``: one for each source; ``other``: for sources that it does not name (None: their problems cannot be
    judged). Raises ValueError if there is no reward at all.
    """

    def __init__(self, *, rewards: Mapping[str, Reward], other: Reward | None = None) -> None:
        if not rewards:
            raise ValueError(
                "reward.rewards is empty: type reward@reward.rewards.NAME=OPTION for each source of the mixture"
            )
        self.rewards, self.other = dict(rewards), other

    @property
    def uses_lengths(self) -> bool:
        """Whether a reward needs the token counts of the completions."""
        return any(getattr(reward, "uses_lengths", False) for reward in self._all)

    @property
    def answer_key(self) -> Callable[[str], str | None] | None:
        """How completions vote in a majority vote, where all rewards are of one kind and have votes; else None."""
        keys = [getattr(reward, "answer_key", None) for reward in self._all]
        return keys[0] if None not in keys and len({type(reward) for reward in self._all}) == 1 else None

    @property
    def stamp(self) -> dict[str, Any]:
        """What the rewards want on record, by source."""
        named = self.rewards | ({} if self.other is None else {"other": self.other})
        stamps = {name: getattr(reward, "stamp", None) for name, reward in named.items()}
        return {name: stamp for name, stamp in stamps.items() if stamp}

    def check_sources(self, sources: Sequence[str]) -> None:
        """Raises ValueError if one of ``sources``, those of a set's problems, has no reward."""
        for name in dict.fromkeys(str(source).rpartition("/")[2] for source in sources):
            if name not in self.rewards and self.other is None:
                raise ValueError(self._missing(name))

    def unjudgeable(self, problem: Problem) -> str | None:
        """Why no completion of a problem can be judged; None if some can."""
        reward = self._of(problem)
        if reward is None:
            return self._missing(problem.source_name)
        reason = getattr(reward, "unjudgeable", None)
        return None if reason is None else reason(problem)

    def score(
        self, completions: Sequence[str], problems: Sequence[Problem], *, lengths: Sequence[int] | None = None
    ) -> list[Verdict]:
        """One verdict per completion; each reward sees all completions of its sources at once."""
        rows: dict[int, list[int]] = {}
        rewards: dict[int, Any] = {}
        verdicts: dict[int, Verdict] = {}
        for row, problem in enumerate(problems):
            reward = self._of(problem)
            if reward is None:
                verdicts[row] = Verdict(Judgement.GOLD_UNPARSABLE, 0.0, detail=str(self.unjudgeable(problem)))
                continue
            rewards[id(reward)] = reward
            rows.setdefault(id(reward), []).append(row)
        for key, mine in rows.items():
            reward = rewards[key]
            some = [completions[row] for row in mine], [problems[row] for row in mine]
            wants = lengths is not None and getattr(reward, "uses_lengths", False)
            more = {"lengths": [lengths[row] for row in mine]} if wants and lengths is not None else {}
            found = checked(reward.score(*some, **more), len(mine), type(reward).__name__)
            verdicts |= zip(mine, found, strict=True)
        return [verdicts[row] for row in range(len(problems))]

    def close(self) -> None:
        """Closes the rewards that hold processes."""
        for reward in self._all:
            close = getattr(reward, "close", None)
            if close is not None:
                close()

    def _missing(self, name: str) -> str:
        return (
            f"No reward is given for source {name!r}, only for {', '.join(self.rewards)}. Type "
            f"reward@reward.rewards.{name or 'NAME'}=OPTION, or reward@reward.other=OPTION."
        )

    @property
    def _all(self) -> list[Any]:
        return [*self.rewards.values(), *([] if self.other is None else [self.other])]

    def _of(self, problem: Problem) -> Reward | None:
        return self.rewards.get(problem.source_name, self.other)
