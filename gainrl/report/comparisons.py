"""Differences of arms in every score, each with its interval and its tests, before anything is concluded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gainrl.functional.contrasts import Cells, Estimate, contrast, correlation, problem_variance
from gainrl.functional.statistics import Interval, probability_of_improvement
from gainrl.report.reader import AXES, Run
from gainrl.report.summaries import area
from gainrl.report.sweep import Stratum, Sweep

FINAL = "final score"
CORRELATED = 0.3
"""Correlation of arms over seeds from which on runs of one seed are paired."""
PAIRS_TO_TELL = 8
"""Degrees of freedom below which a correlation of arms is not believed."""

Conclusion = Literal["better", "worse", "not better", "inconclusive"]
Score = Callable[[Run], float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm against a reference in one score.

    ``estimate``: the difference of the means. ``runs``: of the arm and of the reference; ``bases``: on how many.
    ``values``: each run of the arm less the reference's mean on its base. ``against_margin``: the difference less the
    margin, and ``margin`` itself, None where the gate's gain is needed and not known. Only where it is judged:
    ``p_holm`` and ``p_margin``, both corrected over the family, and the ``conclusion``.
    """

    label: str
    reference: str
    score: str
    primary: bool
    estimate: Estimate
    interval: Interval
    p: float
    improvement: float
    runs: tuple[int, int]
    bases: int
    values: tuple[float, ...]
    against_margin: Estimate | None = None
    margin: float | None = None
    p_holm: float | None = None
    p_margin: float | None = None
    conclusion: Conclusion | None = None


def scores_of(sweep: Sweep, axes: tuple[str, ...]) -> dict[str, Score]:
    """The scores that are compared: the final score, and areas under the curve over the chosen axis, tokens and steps.

    Where arms pay for rollouts that they do not train on, over rollouts too: an arm may win by one and lose by another.
    """
    chosen: dict[str, Score] = {FINAL: sweep.final_score}
    wanted = ("generated_tokens", "updates", *(("rollouts",) if sweep.pays_extra_rollouts() else ()))
    for axis in dict.fromkeys([*axes[:1], *(name for name in wanted if name in axes)]):
        chosen[f"area over {AXES[axis]}"] = lambda run, axis=axis: area(sweep, run, axis)  # type: ignore[misc]
    return chosen


def primary_score(sweep: Sweep, axes: tuple[str, ...]) -> str:
    return FINAL if sweep.settings.primary == "final" else f"area over {AXES[axes[0]]}"


def measure(sweep: Sweep, axes: tuple[str, ...]) -> list[Comparison]:
    """Every difference to the sweep's reference, before any is judged. Arms without a common base are left out."""
    primary = primary_score(sweep, axes)
    rows = []
    for name, score in scores_of(sweep, axes).items():
        paired = pairs_runs(sweep, score)
        for label in sweep.others:
            row = difference(sweep, label, sweep.reference, name, score, primary=name == primary, paired=paired)
            rows += [] if row is None else [row]
    return rows


def difference(
    sweep: Sweep, label: str, reference: str, name: str, score: Score, *, primary: bool, paired: bool
) -> Comparison | None:
    """One arm less one reference; None where they share no base with a score."""
    settings = sweep.settings
    strata, cells = cells_of(sweep, (label, reference), score, paired=paired)
    if not strata:
        return None
    tasks = [task for task, _ in strata]
    weights = (1.0, -1.0)
    estimate = _contrast(cells, weights, tasks, sweep, paired=paired)
    estimate = estimate.with_variance(*_problems(sweep, name, strata, (label, reference), weights))
    shift, margin = _against_margin(sweep, label, reference, name, score, estimate, paired=paired)
    ours, theirs = cells
    return Comparison(
        label=label,
        reference=reference,
        score=name,
        primary=primary,
        estimate=estimate,
        interval=estimate.interval(settings.level),
        p=estimate.p_value(),
        improvement=probability_of_improvement(ours, theirs),
        runs=(sum(map(len, ours)), sum(map(len, theirs))),
        bases=len(strata),
        values=tuple(float(x - cell.mean()) for own, cell in zip(ours, theirs, strict=True) for x in own),
        against_margin=shift,
        margin=margin,
    )


def cells_of(
    sweep: Sweep, labels: Sequence[str], score: Score, *, paired: bool
) -> tuple[list[Stratum], list[list[np.ndarray]]]:
    """Scores of each arm by task and base, where all have some; with ``paired`` of the seeds that all have."""
    found = [{key: _scored(runs, score) for key, runs in sweep.strata(label).items()} for label in labels]
    strata = []
    cells: list[list[np.ndarray]] = [[] for _ in labels]
    for key in found[0]:
        if not all(found_in.get(key) for found_in in found):
            continue
        shared = set.intersection(*(set(found_in[key]) for found_in in found))
        if paired and not shared:
            continue
        strata.append(key)
        for place, found_in in enumerate(found):
            seeds = [seed for seed in found_in[key] if not paired or seed in shared]
            cells[place].append(np.array([found_in[key][seed] for seed in seeds]))
    return strata, cells


def _scored(runs: Sequence[Run], score: Score) -> dict[int, float]:
    values = {run.seed: score(run) for run in runs}
    return {seed: value for seed, value in values.items() if not np.isnan(value)}


def _contrast(
    cells: Sequence[Cells], weights: Sequence[float], tasks: Sequence[str], sweep: Sweep, *, paired: bool
) -> Estimate:
    """A contrast of arms, of the means of the arms or of the contrasts within each seed."""
    if paired:
        cells = [[np.asarray(weights) @ np.array(runs) for runs in zip(*cells, strict=True)]]
        weights = [1.0]
    return contrast(cells, weights, tasks=tasks, over=sweep.settings.over)


def pairs_runs(sweep: Sweep, score: Score) -> bool:
    """Whether runs of one seed are paired: as chosen, or where arms correlate with the reference over seeds."""
    if sweep.settings.pairing != "auto":
        return sweep.settings.pairing == "paired"
    value, freedom = seed_correlation(sweep, score)
    return freedom >= PAIRS_TO_TELL and value > CORRELATED


def seed_correlation(sweep: Sweep, score: Score) -> tuple[float, int]:
    """Correlation of all arms with the reference over the seeds that they share, within tasks and bases."""
    ours: list[np.ndarray] = []
    theirs: list[np.ndarray] = []
    for label in sweep.others:
        if label not in sweep.same:
            _, (own, reference) = cells_of(sweep, (label, sweep.reference), score, paired=True)
            ours, theirs = ours + own, theirs + reference
    return correlation(ours, theirs) if ours else (0.0, 0)


def _problems(
    sweep: Sweep, name: str, strata: Sequence[Stratum], labels: Sequence[str], weights: Sequence[float]
) -> tuple[float, float]:
    """What the choice of the held-out problems adds to a contrast of a score, with its degrees of freedom.

    0 for scores other than the final accuracy, and where no run recorded its verdicts.
    """
    if name != FINAL or sweep.settings.metric != "eval/accuracy" or len({task for task, _ in strata}) > 1:
        return 0.0, 1.0
    arms = []
    for label in labels:
        by_base = sweep.strata(label)
        cells = [np.array([_solved(sweep, run) for run in by_base[key]], object) for key in strata]
        arms.append(cells)
    sizes = {np.size(row) for cells in arms for cell in cells for row in cell}
    if len(sizes) != 1 or 0 in sizes:
        return 0.0, 1.0
    return problem_variance([[np.stack(list(cell)).astype(float) for cell in cells] for cells in arms], weights)


def _solved(sweep: Sweep, run: Run) -> np.ndarray:
    """Mean verdict of each held-out problem over the evaluations of the final score, where they give that score."""
    marks = [run.verdicts[int(step)] for step in sweep.final_steps(run) if int(step) in run.verdicts]
    means = np.mean(marks, axis=0) if marks else np.empty(0)
    return means if len(means) and abs(means.mean() - sweep.final_score(run)) < 5e-4 else np.empty(0)


def _against_margin(
    sweep: Sweep, label: str, reference: str, name: str, score: Score, estimate: Estimate, *, paired: bool
) -> tuple[Estimate | None, float | None]:
    """The difference less the margin, with the error of the margin in it where that is a share of the gate's gain."""
    share = sweep.settings.margin_share
    if share is None:
        return replace(estimate, value=estimate.value - sweep.settings.margin), sweep.settings.margin
    if sweep.gate is None or sweep.gate == label:
        return None, None
    parts: defaultdict[str, float] = defaultdict(float, {label: 1.0})
    for arm, weight in ((reference, -1.0), (sweep.gate, -share), (sweep.reference, share)):
        parts[arm] += weight
    strata, cells = cells_of(sweep, tuple(parts), score, paired=paired)
    if not strata:
        return None, None
    weights = tuple(parts.values())
    tasks = [task for task, _ in strata]
    ends = [cells[list(parts).index(arm)] for arm in (sweep.gate, sweep.reference)]
    gain = contrast(ends, (1.0, -1.0), tasks=tasks).value
    shift = _contrast(cells, weights, tasks, sweep, paired=paired)
    return shift.with_variance(*_problems(sweep, name, strata, tuple(parts), weights)), share * gain


def unscored(sweep: Sweep, axes: tuple[str, ...]) -> list[str]:
    """One line per score and arm: compared runs that have no value in it, which are left out of it."""
    lines = []
    for name, score in scores_of(sweep, axes).items():
        for label in sweep.labels:
            seeds = sorted({run.seed for run in sweep.chosen(label) if np.isnan(score(run))})
            if seeds:
                lines.append(f"{label} has no {name} for seed {', '.join(map(str, seeds))}: those runs are left out.")
    return lines
