"""Paired differences of every arm to the reference, with a corrected test and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gainrl.app.report.blocks import ranged
from gainrl.app.report.reader import AXES, Run
from gainrl.app.report.summaries import area
from gainrl.app.report.sweep import Settings, Sweep
from gainrl.functional.paired import (
    Verdict,
    fewest_pairs,
    holm,
    paired_interval,
    pairs_needed,
    sign_flip_test,
    verdict,
)
from gainrl.functional.statistics import Interval, improvement_interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm against the reference in one score. ``p_value``: sign-flip test; ``p_holm``: corrected over the arms.

    ``needed``: pairs that would show the smallest effect with 80% power and that the test can decide on, None for
    a single pair.
    """

    label: str
    score: str
    differences: tuple[float, ...]
    interval: Interval
    p_value: float
    p_holm: float
    verdict: Verdict
    worse: bool
    improvement: Interval
    needed: int | None

    @property
    def pairs(self) -> int:
        return len(self.differences)


def scores_of(sweep: Sweep, axes: tuple[str, ...]) -> dict[str, Callable[[Run], float]]:
    """The scores that are compared: the final score, and areas under the curve over the chosen axis, tokens and steps.

    Where arms pay for rollouts that they do not train on, over rollouts too: an arm may win by one and lose by another.
    """
    chosen: dict[str, Callable[[Run], float]] = {"final score": sweep.final_score}
    wanted = ("generated_tokens", "updates", *(("rollouts",) if sweep.pays_extra_rollouts() else ()))
    for axis in dict.fromkeys([axes[0], *(name for name in wanted if name in axes)]):
        chosen[f"area over {AXES[axis]}"] = lambda run, axis=axis: area(sweep, run, axis)  # type: ignore[misc]
    return chosen


def compare(sweep: Sweep, axes: tuple[str, ...]) -> list[Comparison]:
    """All arms but the reference, for each score; Holm's correction runs over the arms of one score."""
    return [row for name, score in scores_of(sweep, axes).items() for row in _compare_one(sweep, name, score)]


def _compare_one(sweep: Sweep, name: str, score: Callable[[Run], float]) -> list[Comparison]:
    settings = sweep.settings
    drafts = []
    for label in sweep.others:
        strata = [pairs for task in sweep.tasks if (pairs := sweep.pairs(label, task))]
        if not strata:
            continue
        ours = [np.array([score(run) for run, _ in pairs]) for pairs in strata]
        theirs = [np.array([score(reference) for _, reference in pairs]) for pairs in strata]
        differences = [x - y for x, y in zip(ours, theirs, strict=True)]
        pooled = np.concatenate(differences)
        if np.isnan(pooled).any():
            continue
        interval = paired_interval(
            differences, level=settings.level, draws=max(settings.draws, 1000), seed=settings.seed
        )
        improvement = improvement_interval(ours, theirs, level=settings.level, draws=settings.draws, seed=settings.seed)
        drafts.append((label, pooled, interval, sign_flip_test(pooled, seed=settings.seed), improvement))
    corrected = holm([p_value for *_, p_value, _ in drafts])
    return [
        Comparison(
            label=label,
            score=name,
            differences=tuple(map(float, pooled)),
            interval=interval,
            p_value=p_value,
            p_holm=float(p_holm),
            verdict=verdict(interval, p_holm, smallest_effect=settings.smallest_effect, alpha=settings.alpha),
            worse=interval.high < 0 and p_holm <= settings.alpha,
            improvement=improvement,
            needed=_needed(pooled, len(drafts), settings),
        )
        for (label, pooled, interval, p_value, improvement), p_holm in zip(drafts, corrected, strict=True)
    ]


def _needed(differences: np.ndarray, arms: int, settings: Settings) -> int | None:
    if len(differences) < 2:
        return None
    by_spread = pairs_needed(differences, settings.smallest_effect, alpha=settings.alpha)
    return max(by_spread, fewest_pairs(arms, settings.alpha))


def sentence(comparison: Comparison, sweep: Sweep, others: Sequence[Comparison] = ()) -> str:
    """The finding in words, with its interval; ``others``: its other scores, named where they say the opposite."""
    interval, effect = comparison.interval, sweep.settings.smallest_effect
    if comparison.verdict == "supported":
        judged = f"better than {sweep.reference}"
    elif comparison.worse:
        judged = f"worse than {sweep.reference}"
    elif comparison.verdict == "ruled out":
        judged = f"an improvement of {effect:g} or more over {sweep.reference} is ruled out"
    else:
        judged = f"undecided at {comparison.pairs} pair{'s' if comparison.pairs > 1 else ''}"
        if comparison.needed is not None and comparison.needed > comparison.pairs:
            judged += f"; about {comparison.needed} would show a difference of {effect:g}"
    opposite = [
        f"but {other.score} {ranged(other.interval, sign=True)}, {'worse' if other.worse else 'better'}"
        for other in others
        if (comparison.verdict == "supported" and other.worse) or (comparison.worse and other.verdict == "supported")
    ]
    return "; ".join([f"{comparison.label}: {ranged(interval, sign=True)}, {judged}", *opposite])
