"""Paired differences of every arm to the reference, with a corrected test and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

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
from gainrl.report.blocks import p_value, ranged
from gainrl.report.reader import AXES, Run
from gainrl.report.summaries import area
from gainrl.report.sweep import Settings, Sweep

FINAL = "final score"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm against the reference in one score. ``p_value``: sign-flip test of this comparison alone.

    Of the ``primary`` score only: ``p_holm``, corrected over all primary comparisons of the report; ``verdict``; and
    ``needed``, pairs that would show the smallest effect with 80% power and that the test can decide on. Else None.
    """

    label: str
    score: str
    primary: bool
    differences: tuple[float, ...]
    interval: Interval
    p_value: float
    improvement: Interval
    p_holm: float | None = None
    verdict: Verdict | None = None
    worse: bool = False
    needed: int | None = None

    @property
    def pairs(self) -> int:
        return len(self.differences)


Draft = tuple[Comparison, list[np.ndarray]]
"""A comparison that is not judged yet, and its differences by task."""


def scores_of(sweep: Sweep, axes: tuple[str, ...]) -> dict[str, Callable[[Run], float]]:
    """The scores that are compared: the final score, and areas under the curve over the chosen axis, tokens and steps.

    Where arms pay for rollouts that they do not train on, over rollouts too: an arm may win by one and lose by another.
    """
    chosen: dict[str, Callable[[Run], float]] = {FINAL: sweep.final_score}
    wanted = ("generated_tokens", "updates", *(("rollouts",) if sweep.pays_extra_rollouts() else ()))
    for axis in dict.fromkeys([axes[0], *(name for name in wanted if name in axes)]):
        chosen[f"area over {AXES[axis]}"] = lambda run, axis=axis: area(sweep, run, axis)  # type: ignore[misc]
    return chosen


def primary_score(sweep: Sweep, axes: tuple[str, ...]) -> str:
    return FINAL if sweep.settings.primary == "final" else f"area over {AXES[axes[0]]}"


def compare(sweep: Sweep, axes: tuple[str, ...]) -> list[Comparison]:
    """All arms but the reference, for each score, judged as a report of this sweep alone."""
    return judge([measure(sweep, axes)], sweep.settings)[0]


def measure(sweep: Sweep, axes: tuple[str, ...]) -> list[Draft]:
    """Every difference with its interval and p-value, before any is judged. Arms without a pair are left out."""
    primary = primary_score(sweep, axes)
    drafts = []
    for name, score in scores_of(sweep, axes).items():
        for label in sweep.others:
            draft = _measure_one(sweep, label, name, score, primary=name == primary)
            drafts += [] if draft is None else [draft]
    return drafts


def _measure_one(sweep: Sweep, label: str, name: str, score: Callable[[Run], float], *, primary: bool) -> Draft | None:
    settings = sweep.settings
    ours, theirs = [], []
    for task in sweep.tasks:
        values = np.array([(score(run), score(reference)) for run, reference in sweep.pairs(label, task)])
        known = values[~np.isnan(values).any(1)] if len(values) else values
        if len(known):
            ours.append(known[:, 0])
            theirs.append(known[:, 1])
    if not ours:
        return None
    differences = [x - y for x, y in zip(ours, theirs, strict=True)]
    pooled = np.concatenate(differences)
    draws = max(settings.draws, 1000)
    comparison = Comparison(
        label=label,
        score=name,
        primary=primary,
        differences=tuple(map(float, pooled)),
        interval=paired_interval(differences, level=settings.level, draws=draws, seed=settings.seed),
        p_value=sign_flip_test(pooled, seed=settings.seed),
        improvement=improvement_interval(ours, theirs, level=settings.level, draws=settings.draws, seed=settings.seed),
    )
    return comparison, differences


def judge(drafts: Sequence[Sequence[Draft]], settings: Settings) -> list[list[Comparison]]:
    """The comparisons of each sweep; those of the primary score with a verdict, corrected over all sweeps (Holm)."""
    family = [draft.p_value for part in drafts for draft, _ in part if draft.primary]
    corrected = iter(holm(family))
    return [
        [
            _judged(draft, differences, float(next(corrected)), len(family), settings) if draft.primary else draft
            for draft, differences in part
        ]
        for part in drafts
    ]


def _judged(
    draft: Comparison, differences: list[np.ndarray], p_holm: float, comparisons: int, settings: Settings
) -> Comparison:
    judged = verdict(
        draft.interval,
        p_holm,
        pairs=draft.pairs,
        smallest_effect=settings.smallest_effect,
        alpha=settings.alpha,
    )
    needed = None
    if any(len(values) > 1 for values in differences):
        by_spread = pairs_needed(differences, settings.smallest_effect, alpha=settings.alpha)
        needed = max(by_spread, fewest_pairs(comparisons, settings.alpha))
    worse = judged == "ruled out" and draft.interval.high < 0 and p_holm <= settings.alpha
    return replace(draft, p_holm=p_holm, verdict=judged, worse=worse, needed=needed)


def unscored(sweep: Sweep, axes: tuple[str, ...]) -> list[str]:
    """One line per score and arm: compared runs that have no value in it, which leave out their pair."""
    lines = []
    for name, score in scores_of(sweep, axes).items():
        for label in sweep.labels:
            seeds = sorted({run.seed for run in sweep.chosen(label) if np.isnan(score(run))})
            if seeds:
                lines.append(f"{label} has no {name} for seed {', '.join(map(str, seeds))}: those pairs are left out.")
    return lines


def sentence(comparison: Comparison, sweep: Sweep, others: Sequence[Comparison] = ()) -> str:
    """The finding in words, with its interval; ``others``: its other scores, named where they lie on the other side."""
    interval, effect = comparison.interval, sweep.settings.smallest_effect
    if comparison.verdict == "supported":
        judged = f"better than {sweep.reference}"
    elif comparison.worse:
        judged = f"worse than {sweep.reference}"
    elif comparison.verdict == "ruled out":
        judged = f"an improvement of {effect:g} or more over {sweep.reference} is ruled out"
    else:
        judged = f"undecided at {comparison.pairs} pair{'s' if comparison.pairs > 1 else ''}"
        if interval.low > 0 and comparison.p_holm is not None:
            judged += f", its corrected p is {p_value(comparison.p_holm)}"
        elif comparison.needed is not None and comparison.needed > comparison.pairs:
            judged += f"; about {comparison.needed:,} would show a difference of {effect:g}"
    opposite = [
        f"but {'above' if comparison.worse else 'below'} zero in {other.score}, {ranged(other.interval, sign=True)}"
        for other in others
        if (comparison.verdict == "supported" and other.interval.high < 0)
        or (comparison.worse and other.interval.low > 0)
    ]
    return "; ".join([f"{comparison.label}: {ranged(interval, sign=True)}, {judged}", *opposite])
