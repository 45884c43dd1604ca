"""A weighted sum of rewards, each of which is logged under its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gainrl.rewards.verdicts import check_setting, checked
from gainrl.types import Judgement, Problem, Reward, Verdict


class WeightedReward:
    """Sums named rewards: ``value = sum_k weights[k] * value_k``.

    ``components``: the rewards by name. ``weights``: one number for each name; 0 logs a component without training on
    it. ``verdict_from``: the component whose judgement counts as the raw verdict of the completion.

    A completion that a component with a weight cannot judge leaves its group (an error), since its sum is unknown. A
    component that only logs (weight 0) may fail without consequence. Raises ValueError for names that do not match,
    weights that are not finite numbers, and an empty sum.
    """

    def __init__(self, *, components: Mapping[str, Reward], weights: Mapping[str, float], verdict_from: str) -> None:
        if not components or set(components) != set(weights):
            raise ValueError(
                f"weights names {sorted(weights)}, but the components are {sorted(components)}. "
                "Give one weight for each component (0 to log it only)."
            )
        if verdict_from not in components:
            raise ValueError(f"verdict_from={verdict_from!r} is not a component. Use one of: {', '.join(components)}.")
        self.components = dict(components)
        self.weights = {name: check_setting(f"weights.{name}", weights[name]) for name in components}
        if not any(self.weights.values()):
            raise ValueError("all weights are 0, so that nothing trains. Give a component a weight.")
        self.verdict_from = verdict_from

    @property
    def uses_lengths(self) -> bool:
        """Whether a component needs the token counts of the completions."""
        return any(getattr(reward, "uses_lengths", False) for reward in self.components.values())

    @property
    def answer_key(self) -> Callable[[str], str | None] | None:
        """How completions vote in a majority vote: as for the component of the verdict, None where it has no votes."""
        return getattr(self.components[self.verdict_from], "answer_key", None)

    @property
    def stamp(self) -> dict[str, Any]:
        """What components want on record, by their names."""
        stamps = {name: getattr(reward, "stamp", None) for name, reward in self.components.items()}
        return {name: stamp for name, stamp in stamps.items() if stamp}

    def unjudgeable(self, problem: Problem) -> str | None:
        """Why no completion of a problem can be judged: what the component of the verdict says, None if it can."""
        reason = getattr(self.components[self.verdict_from], "unjudgeable", None)
        return None if reason is None else reason(problem)

    def score(
        self, completions: Sequence[str], problems: Sequence[Problem], *, lengths: Sequence[int] | None = None
    ) -> list[Verdict]:
        """One verdict per completion, with the value of every component before weighting."""
        columns = {name: self._column(name, completions, problems, lengths) for name in self.components}
        return [self._sum({name: column[row] for name, column in columns.items()}) for row in range(len(completions))]

    def _column(
        self, name: str, completions: Sequence[str], problems: Sequence[Problem], lengths: Sequence[int] | None
    ) -> list[Verdict]:
        """The verdicts of one component."""
        reward: Any = self.components[name]
        more = {"lengths": lengths} if getattr(reward, "uses_lengths", False) else {}
        try:
            return checked(reward.score(completions, problems, **more), len(completions), f"the component {name}")
        except Exception as fault:
            if self.weights[name] or name == self.verdict_from:
                raise
            return [Verdict(Judgement.ERROR, 0.0, detail=f"{type(fault).__name__}: {fault}")] * len(completions)

    def close(self) -> None:
        """Closes the components that hold processes."""
        for reward in self.components.values():
            close = getattr(reward, "close", None)
            if close is not None:
                close()

    def _sum(self, parts: Mapping[str, Verdict]) -> Verdict:
        main = parts[self.verdict_from]
        values: dict[str, float] = {}
        for name, part in parts.items():
            if not part.excluded:
                values[name] = part.value
            values |= {f"{name}/{inner}": value for inner, value in part.components.items()}
        failed = [name for name, part in parts.items() if part.excluded and self.weights[name] != 0]
        if main.excluded or failed:
            judgement = main.judgement if main.excluded else Judgement.ERROR
            detail = "; ".join(f"{name}: {parts[name].detail}" for name in failed or [self.verdict_from])
            return Verdict(judgement, 0.0, components=values, detail=detail, outcome=main.outcome)
        value = sum(self.weights[name] * part.value for name, part in parts.items() if not part.excluded)
        return Verdict(main.judgement, value, components=values, detail=main.detail, outcome=main.outcome)
