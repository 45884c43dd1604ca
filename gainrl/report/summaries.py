"""One row per arm: where it ended, how it got there, and what that cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gainrl.functional.budgets import area_under_curve, budget_ratio, budget_to_target, median_budget
from gainrl.functional.contrasts import contrast
from gainrl.functional.statistics import Interval
from gainrl.report.reader import AXES, Run, part_columns
from gainrl.report.sweep import Sweep

RATIO_RUNS = 10
"""Runs of an arm below which the interval of a budget's ratio covers too little to be shown."""


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """Means over runs with intervals; medians for costs. None where nothing is known."""

    label: str
    runs: int
    known_runs: int
    first: Interval | None
    final: Interval | None
    area: Interval | None
    rollouts: float
    generated_tokens: float
    seconds: float
    worst_level: Interval | None


@dataclass(frozen=True, slots=True)
class TargetRow:
    """Budget to reach a target on one axis, as a ratio to the reference; ``reached`` of ``runs`` arrived.

    ``longest``: the arm's largest budget over the reference's median, a lower bound of a ratio that is not known.
    ``at_start``: the reference had the target before training.
    """

    label: str
    axis: str
    share: float
    ratio: Interval
    reached: int
    runs: int
    longest: float
    at_start: bool


def summarise(sweep: Sweep) -> list[ArmSummary]:
    return [_summary(sweep, label) for label in sweep.labels]


def _summary(sweep: Sweep, label: str) -> ArmSummary:
    settings = sweep.settings
    runs = sweep.chosen(label)
    return ArmSummary(
        label=label,
        runs=len(runs),
        known_runs=len(next(arm for arm in sweep.arms if arm.label == label).runs),
        first=mean_of(sweep, label, sweep.first_score),
        final=mean_of(sweep, label, sweep.final_score),
        area=mean_of(sweep, label, lambda run: area(sweep, run, settings.axis)),
        rollouts=_median([_last(run, "rollouts") for run in runs]),
        generated_tokens=_median([_last(run, "generated_tokens") for run in runs]),
        seconds=_median([seconds(run) for run in runs]),
        worst_level=mean_of(sweep, label, lambda run: worst_level(sweep, run)),
    )


def mean_of(sweep: Sweep, label: str, score: Callable[[Run], float]) -> Interval | None:
    """Mean of a score over an arm's runs with its interval; None where a run has no value."""
    strata = sweep.strata(label)
    cells = [np.array([score(run) for run in runs]) for runs in strata.values()]
    if not cells or np.isnan(np.concatenate(cells)).any():
        return None
    estimate = contrast([cells], [1.0], tasks=[task for task, _ in strata], over=sweep.settings.over)
    return estimate.interval(sweep.settings.level)


def area(sweep: Sweep, run: Run, axis: str) -> float:
    """Normalised area of a run up to the sweep's budget; NaN where an evaluation's budget was not recorded."""
    budgets, scores = run.evaluations(axis, sweep.settings.metric)
    end = sweep.budget(axis, run.task)
    if len(budgets) < len(run.evaluations("step", sweep.settings.metric)[0]) or end <= 0:
        return float("nan")
    return area_under_curve(budgets, scores, end) if len(budgets) else float("nan")


def worst_level(sweep: Sweep, run: Run) -> float:
    """The lowest final score over levels, or over families of tasks; NaN without either."""
    finals = []
    for name in part_columns(run.columns, sweep.settings.metric):
        scores = run.columns[name][~np.isnan(run.columns[name])]
        count = max(1, min(sweep.settings.last, (len(scores) - 1) // 4))
        finals.append(scores[-count:].mean() if len(scores) else np.nan)
    return float(min(finals)) if finals else float("nan")


def seconds(run: Run) -> float:
    """Wall seconds of the whole run where it finished, else of its rows."""
    return float(run.record.get("wall_seconds") or _last(run, "wall_seconds"))


def _last(run: Run, name: str) -> float:
    values = run.columns.get(name, np.empty(0))
    return float(values[-1]) if len(values) else float("nan")


def _median(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.median(known)) if known else float("nan")


def target_scores(sweep: Sweep, task: str) -> dict[float, float]:
    """Share to score: each share of the mean of the reference's final scores, or of the way there.

    The targets are taken as known: the intervals of the ratios do not hold what they would vary by over other seeds.
    """
    runs = sweep.chosen(sweep.reference, task)
    if not runs:
        return {}
    final = float(np.mean([sweep.final_score(run) for run in runs]))
    first = float(np.mean([sweep.first_score(run) for run in runs]))
    start = first if sweep.settings.target_of == "gain" else 0.0
    return {share: start + share * (final - start) for share in sweep.settings.targets}


def budgets_to_targets(sweep: Sweep, axes: tuple[str, ...]) -> list[TargetRow]:
    """For every axis, arm and target; runs of all tasks together, each with its task's target.

    Budgets of several tasks are divided by the task's budget, so that medians over tasks have a meaning.
    """
    rows = []
    targets = {task: target_scores(sweep, task) for task in sweep.tasks}
    reference = sweep.strata(sweep.reference)
    for axis in axes:
        for label in sweep.labels:
            strata = sweep.strata(label)
            shared = [key for key in strata if key in reference]
            for share in sweep.settings.targets if shared else ():
                sides = [
                    [
                        np.array([_spent(sweep, run, axis, targets[key[0]][share]) for run in cells[key]], np.float64)
                        for key in shared
                    ]
                    for cells in (strata, reference)
                ]
                rows.append(_target_row(sweep, label, axis, share, *sides))
    return rows


def _target_row(
    sweep: Sweep, label: str, axis: str, share: float, ours: list[np.ndarray], theirs: list[np.ndarray]
) -> TargetRow:
    ratio = budget_ratio(ours, theirs, level=sweep.settings.level, seed=sweep.settings.seed)
    own, base = np.concatenate(ours), np.concatenate(theirs)
    if min(len(own), len(base)) < RATIO_RUNS:
        ratio = Interval(ratio.estimate, float("nan"), float("nan"))
    middle = float(median_budget(base[:, 0], base[:, 1]))
    longest = float(own[:, 0].max()) / middle if middle > 0 else float("nan")
    return TargetRow(label, axis, share, ratio, int(own[:, 1].sum()), len(own), longest, middle == 0)


def _spent(sweep: Sweep, run: Run, axis: str, target: float) -> tuple[float, bool]:
    budgets, scores = run.evaluations(axis, sweep.settings.metric)
    if axis == "wall_seconds":
        budgets = budgets - budgets[0]  # the first evaluation is nobody's training
    spent, reached = budget_to_target(budgets, scores, target)
    scale = sweep.budget(axis, run.task) if len(sweep.tasks) > 1 else 1.0
    return spent / scale, reached


def axes_of(sweep: Sweep) -> tuple[str, ...]:
    """The budget axes that the runs recorded at every evaluation, the chosen one first; empty if there are none."""
    runs = [run for label in sweep.labels for run in sweep.chosen(label)]
    metric = sweep.settings.metric
    have = [
        name
        for name in AXES
        if any(len(run.evaluations(name, metric)[0]) == len(run.evaluations("step", metric)[0]) for run in runs)
    ]
    if have and sweep.settings.axis not in have:
        raise ValueError(f"--axis={sweep.settings.axis} is no column of these runs; use one of {', '.join(have)}")
    return (sweep.settings.axis, *(name for name in have if name != sweep.settings.axis)) if have else ()
