"""Curves over seeds: runs put on one grid of budgets, their mean, and its band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.functional.contrasts import contrast
from gainrl.report.reader import Run, part_columns, part_name
from gainrl.report.sweep import Sweep

_POINTS = 49


@dataclass(frozen=True, slots=True)
class Curve:
    """``budgets``, ``middle``, ``low``, ``high``: ``[points]``; ``runs``: the single runs, ``[runs, points]``."""

    label: str
    budgets: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    runs: np.ndarray


def score_curves(sweep: Sweep, axis: str, task: str) -> list[Curve]:
    """Held-out score against a budget, one curve per arm, as far as all runs of the arm go."""
    curves = []
    for label in sweep.labels:
        runs = sweep.chosen(label, task)
        pairs = [(run.base, *run.evaluations(axis, sweep.settings.metric)) for run in runs]
        curves += _curve(sweep, label, [pair for pair in pairs if len(pair[1])])
    return curves


def column_curves(sweep: Sweep, name: str, task: str, *, smooth: int = 1, axis: str = "prompts_seen") -> list[Curve]:
    """A column of the steps against a budget; ``smooth``: steps in a centred running mean."""
    curves = []
    for label in sweep.labels:
        pairs = []
        for run in sweep.chosen(label, task):
            budgets, values = known(run, name, axis)
            if len(budgets) > 1:
                pairs.append((run.base, budgets, running_mean(values, smooth)))
        curves += _curve(sweep, label, pairs)
    return curves


def known(run: Run, name: str, axis: str = "prompts_seen") -> tuple[np.ndarray, np.ndarray]:
    if name not in run.columns or axis not in run.columns:
        return np.empty(0), np.empty(0)
    values = run.columns[name]
    rows = ~np.isnan(values)
    return run.columns[axis][rows], values[rows]


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Centred mean over up to ``width`` values, fewer at the ends."""
    if width <= 1 or len(values) < 2:
        return values
    width = min(width, len(values)) | 1
    kernel = np.ones(width)
    return (
        np.convolve(values, kernel, "same")[: len(values)]
        / np.convolve(np.ones(len(values)), kernel, "same")[: len(values)]
    )


def _curve(sweep: Sweep, label: str, pairs: list[tuple[str, np.ndarray, np.ndarray]]) -> list[Curve]:
    """The mean over bases of the means over their runs, as the tables have it, with an interval at every point."""
    if not pairs:
        return []
    grid = np.linspace(min(x[0] for _, x, _ in pairs), min(x[-1] for _, x, _ in pairs), _POINTS)
    runs = np.array([np.interp(grid, budgets, values) for _, budgets, values in pairs])
    bases = [base for base, _, _ in pairs]
    places = [np.flatnonzero([base == other for other in bases]) for base in dict.fromkeys(bases)]
    ends = []
    for column in runs.T:
        interval = contrast([[column[place] for place in places]], [1.0], over=sweep.settings.over).interval(
            sweep.settings.level
        )
        ends.append((interval.estimate, interval.low, interval.high))
    middle, low, high = np.array(ends).T
    unknown = np.isinf(low)  # one run, or runs without any spread
    return [Curve(label, grid, middle, np.where(unknown, middle, low), np.where(unknown, middle, high), runs)]


def level_shares(sweep: Sweep, label: str, task: str, *, parts: int = 24) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Middle of each of ``parts`` stretches of the run (share of steps) and each level's mean share of the prompts."""
    runs = [run for run in sweep.chosen(label, task) if part_columns(run.columns, "selection")]
    names = part_columns({name for run in runs for name in run.columns}, "selection")
    if not names:
        return np.empty(0), {}
    totals = np.zeros((len(names), parts))
    for run in runs:
        table = np.array([run.columns.get(name, np.full(len(run.columns["step"]), np.nan)) for name in names])
        table = np.nan_to_num(table[:, ~np.isnan(table).all(0)])
        parts_of = np.minimum(np.arange(table.shape[1]) * parts // max(table.shape[1], 1), parts - 1)
        for index in range(len(names)):
            totals[index] += np.bincount(parts_of, table[index], parts)
    sums = totals.sum(0)
    shares = np.divide(totals, sums, out=np.zeros_like(totals), where=sums > 0)
    middles = (np.arange(parts) + 0.5) / parts
    middles[[0, -1]] = 0.0, 1.0  # so that the areas fill the panel
    return middles[sums > 0], {part_name(name): shares[i][sums > 0] for i, name in enumerate(names)}
