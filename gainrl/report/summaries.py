"""One row per arm: where it ended, how it got there, and what that cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.functional.budgets import area_under_curve, budget_ratio, budget_to_target, median_budget
from gainrl.functional.statistics import Interval, bootstrap_interval, interquartile_mean
from gainrl.report.reader import AXES, Run
from gainrl.report.sweep import Sweep


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """Interquartile means over runs with percentile intervals; medians for costs. None where nothing is known."""

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
    strata = [runs for task in sweep.tasks if (runs := sweep.chosen(label, task))]
    runs = [run for stratum in strata for run in stratum]

    def over_runs(score: object) -> Interval | None:
        if not runs:
            return None
        values = [np.array([score(run) for run in stratum]) for stratum in strata]  # type: ignore[operator]
        if np.isnan(np.concatenate(values)).any():
            return None
        return bootstrap_interval(values, level=settings.level, draws=settings.draws, seed=settings.seed)

    return ArmSummary(
        label=label,
        runs=len(runs),
        known_runs=len(next(arm for arm in sweep.arms if arm.label == label).runs),
        first=over_runs(sweep.first_score),
        final=over_runs(sweep.final_score),
        area=over_runs(lambda run: area(sweep, run, settings.axis)),
        rollouts=_median([_last(run, "rollouts") for run in runs]),
        generated_tokens=_median([_last(run, "generated_tokens") for run in runs]),
        seconds=_median([seconds(run) for run in runs]),
        worst_level=over_runs(lambda run: worst_level(sweep, run)),
    )


def area(sweep: Sweep, run: Run, axis: str) -> float:
    """Normalised area of a run up to the budget that all compared runs of its task have."""
    budgets, scores = run.evaluations(axis, sweep.settings.metric)
    common = sweep.common_budget(axis, run.task)
    return area_under_curve(budgets, scores, common) if len(budgets) and common > 0 else float("nan")


def worst_level(sweep: Sweep, run: Run) -> float:
    """The lowest final score over levels; NaN without levels."""
    prefix = f"{sweep.settings.metric}/level_"
    finals = []
    for name in run.columns:
        if name.startswith(prefix):
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
    """Share to score: each share of the interquartile mean of the reference's final scores, or of the way there.

    The targets are taken as known: the intervals of the ratios do not hold what they would vary by over other seeds.
    """
    runs = sweep.chosen(sweep.reference, task)
    if not runs:
        return {}
    final = float(interquartile_mean(np.array([sweep.final_score(run) for run in runs])))
    first = float(interquartile_mean(np.array([sweep.first_score(run) for run in runs])))
    start = first if sweep.settings.target_of == "gain" else 0.0
    return {share: start + share * (final - start) for share in sweep.settings.targets}


def budgets_to_targets(sweep: Sweep, axes: tuple[str, ...]) -> list[TargetRow]:
    """For every axis, arm and target; pairs of all tasks together, each with its task's target, resampled within it.

    Budgets of several tasks are divided by the task's common budget, so that medians over tasks have a meaning.
    """
    rows = []
    targets = {task: target_scores(sweep, task) for task in sweep.tasks}
    for axis in axes:
        for label in sweep.labels:
            for share in sweep.settings.targets:
                ours, theirs, sizes = [], [], []
                for task in sweep.tasks:
                    pairs = sweep.pairs(label, task)
                    sizes += [len(pairs)] if pairs else []
                    for run, reference in pairs:
                        ours.append(_spent(sweep, run, axis, targets[task][share]))
                        theirs.append(_spent(sweep, reference, axis, targets[task][share]))
                if not ours:
                    continue
                ratio = budget_ratio(ours, theirs, sizes=sizes, level=sweep.settings.level, seed=sweep.settings.seed)
                middle = float(median_budget(np.array([b for b, _ in theirs]), np.array([r for _, r in theirs])))
                longest = max(budget for budget, _ in ours) / middle if middle > 0 else float("nan")
                reached = sum(arrived for _, arrived in ours)
                rows.append(TargetRow(label, axis, share, ratio, reached, len(ours), longest, middle == 0))
    return rows


def _spent(sweep: Sweep, run: Run, axis: str, target: float) -> tuple[float, bool]:
    budgets, scores = run.evaluations(axis, sweep.settings.metric)
    if axis == "wall_seconds":
        budgets = budgets - budgets[0]  # the first evaluation is nobody's training
    spent, reached = budget_to_target(budgets, scores, target)
    scale = sweep.common_budget(axis, run.task) if len(sweep.tasks) > 1 else 1.0
    return spent / scale, reached


def axes_of(sweep: Sweep) -> tuple[str, ...]:
    """The budget axes that the runs have, the chosen one first."""
    have = {name for label in sweep.labels for run in sweep.chosen(label) for name in run.columns}
    if sweep.settings.axis not in have:
        raise ValueError(
            f"--axis={sweep.settings.axis} is no column of these runs; use one of "
            + ", ".join(name for name in AXES if name in have)
        )
    return (sweep.settings.axis, *(name for name in AXES if name in have and name != sweep.settings.axis))
