"""Figures of the comparison: curves over four budgets, one panel per arm, differences, and every run's final score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

import gainrl.report.style as style
from gainrl.report.comparisons import Comparison
from gainrl.report.reader import AXES
from gainrl.report.series import Curve
from gainrl.report.style import Look
from gainrl.report.sweep import Sweep

WIDTH = 8.4
MOST_BANDS = 5
MOST_PANELS = 16
LONGEST = 2.0  # of the reference's budget: an arm that spends far more would squeeze the others


def save(figure: Figure, folder: Path, slug: str) -> Path:
    """Writes SVG for the page and PDF for a paper; returns the SVG."""
    path = folder / f"{slug}.svg"
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not again for every file
    figure.savefig(path, metadata={"Date": None})
    figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
    return path


def new_figure(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.05))
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def budget_axis(axis: Axes, name: str, largest: float) -> float:
    """Labels a budget axis; returns what budgets are divided by (seconds become minutes or hours)."""
    words, scale = AXES.get(name, name), 1.0
    if name == "wall_seconds":
        scale, unit = (3600.0, "hours") if largest > 7200 else (60.0, "minutes") if largest > 120 else (1.0, "seconds")
        words = f"{words} ({unit})"
    axis.set_xlabel(words)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    if largest / scale >= 10_000:
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    return scale


def legend_below(figure: Figure, looks: dict[str, Look], labels: Sequence[str]) -> None:
    longest = max(map(len, labels))
    columns = max(1, min(len(labels), int(WIDTH * 13.5 / (longest + 7))))
    figure.legend(
        handles=_samples(looks, labels), loc="outside lower center", ncols=columns, columnspacing=1.6, labelspacing=0.35
    )


def _samples(looks: dict[str, Look], labels: Sequence[str]) -> list[Line2D]:
    return [Line2D([], [], label=label, **looks[label].line()) for label in labels]


def draw_curve(axis: Axes, curve: Curve, look: Look, scale: float, *, band: bool) -> None:
    budgets = curve.budgets / scale
    if band:
        axis.fill_between(budgets, curve.low, curve.high, color=look.color, alpha=0.14, linewidth=0)
    axis.plot(budgets, curve.middle, zorder=3 if look.color == style.INK else 2, **look.line())


def curves_figure(curves: dict[str, list[Curve]], reference: str, looks: dict[str, Look], ylabel: str) -> Figure:
    """One panel per budget axis; bands only where they can be told apart."""
    names = [name for name in curves if curves[name]]
    columns = 3 if len(names) > 4 else 2
    rows = -(-len(names) // columns)
    figure, axes = new_figure(rows, min(columns, len(names)), 2.55 * rows + 0.6, sharey=True)
    for name, axis in zip(names, axes.flat, strict=False):
        largest = max(curve.budgets[-1] for curve in curves[name])
        base = [curve.budgets[-1] for curve in curves[name] if curve.label == reference]
        end = min([largest, *(LONGEST * budget for budget in base)])
        scale = budget_axis(axis, name, end)
        for curve in reversed(curves[name]):
            draw_curve(axis, curve, looks[curve.label], scale, band=len(curves[name]) <= MOST_BANDS)
        axis.set_xlim(-0.015 * end / scale, 1.015 * end / scale)
    for axis in axes[:, 0]:
        axis.set_ylabel(ylabel)
    free = list(axes.flat)[len(names) :]
    for axis in free:
        axis.set_axis_off()
    labels = [curve.label for curve in curves[names[0]]]
    if free and len(labels) <= 12:
        free[0].legend(handles=_samples(looks, labels), loc="center left", labelspacing=0.5)
    else:
        legend_below(figure, looks, labels)
    return figure


def arm_panels(curves: Sequence[Curve], reference: str, looks: dict[str, Look], axis_name: str, ylabel: str) -> Figure:
    """A small panel per arm: its runs, mean and band, before the reference's."""
    base = next((curve for curve in curves if curve.label == reference), None)
    shown = at_most([curve for curve in curves if curve.label != reference] or list(curves))
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = new_figure(rows, columns, 1.75 * rows + 0.5, sharex=True, sharey=True)
    for curve, axis in zip(shown, axes.flat, strict=False):
        look = looks[curve.label]
        scale = budget_axis(axis, axis_name, max(c.budgets[-1] for c in curves))
        axis.set_xlabel("")
        if base is not None and base is not curve:
            axis.fill_between(base.budgets / scale, base.low, base.high, color=style.INK, alpha=0.10, linewidth=0)
            axis.plot(base.budgets / scale, base.middle, color=style.INK, linewidth=1.0)
        paths = [np.column_stack([curve.budgets / scale, run]) for run in curve.runs]
        axis.add_collection(LineCollection(paths, colors=look.color, linewidths=0.5, alpha=0.35), autolim=True)
        axis.fill_between(curve.budgets / scale, curve.low, curve.high, color=look.color, alpha=0.20, linewidth=0)
        axis.plot(curve.budgets / scale, curve.middle, color=look.color, linewidth=1.8)
        axis.set_title(shorten(curve.label, 30), color=look.color, fontweight="bold", fontsize=8)
        axis.xaxis.set_major_locator(MaxNLocator(3))
        if base is not None:  # an arm that spends far more would squeeze every panel
            axis.set_xlim(0, min(1.25 * base.budgets[-1], max(c.budgets[-1] for c in curves)) / scale)
    for axis in list(axes.flat)[len(shown) :]:
        axis.set_visible(False)
    for index, axis in enumerate(axes.flat[: len(shown)]):
        if index + columns >= len(shown):
            axis.tick_params(labelbottom=True)
    figure.supxlabel(AXES.get(axis_name, axis_name) + _unit(axis_name, curves), fontsize=8.5)
    figure.supylabel(ylabel, fontsize=8.5)
    return figure


def _unit(axis_name: str, curves: Sequence[Curve]) -> str:
    largest = max(curve.budgets[-1] for curve in curves)
    if axis_name != "wall_seconds":
        return ""
    return " (hours)" if largest > 7200 else " (minutes)" if largest > 120 else " (seconds)"


def at_most(items: Sequence[Any]) -> list[Any]:
    """The first and the last, as many as there is room for: of ranked arms the best and the worst."""
    if len(items) <= MOST_PANELS:
        return list(items)
    return [*items[: MOST_PANELS // 2], *items[-MOST_PANELS // 2 :]]


def shorten(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def differences_figure(comparisons: Sequence[Comparison], looks: dict[str, Look], sweep: Sweep) -> Figure:
    """Differences with intervals, one panel per score; the grey stripe is less than the margin."""
    scores = list(dict.fromkeys(row.score for row in comparisons))[:4]
    labels = [label for label in sweep.others if any(row.label == label for row in comparisons)]
    figure, axes = new_figure(1, len(scores), 0.24 * len(labels) + 1.0, sharey=True)
    for score, axis in zip(scores, axes[0], strict=True):
        rows = {row.label: row for row in comparisons if row.score == score}
        margin = next((row.margin for row in rows.values() if row.margin is not None and row.margin > 0), None)
        if margin is not None:
            axis.axvspan(-margin, margin, color="#eef0f2", zorder=0)
        axis.axvline(0, color=style.MUTED, linewidth=0.8)
        for place, label in enumerate(labels):
            if label in rows:
                _whisker(axis, rows[label], place, looks[label].color)
        axis.set_title(score)
        axis.set_xlabel(f"difference to {shorten(sweep.reference, 24)}")
        axis.xaxis.set_major_locator(MaxNLocator(3))
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(labels)), [shorten(label, 34) for label in labels], fontsize=8, color=style.INK)
    axes[0, 0].set_ylim(len(labels) - 0.4, -0.6)
    return figure


def _whisker(axis: Axes, row: Comparison, place: float, color: str) -> None:
    interval = row.interval
    if np.isfinite([interval.low, interval.high]).all():
        axis.plot([interval.low, interval.high], [place, place], color=color, linewidth=1.6, solid_capstyle="round")
    face = color if interval.excludes_zero() else "white"
    axis.plot([interval.estimate], [place], "o", markersize=5, color=color, markerfacecolor=face, markeredgewidth=1.3)
    axis.plot(
        row.values, [place + 0.27] * len(row.values), "|", color=color, markersize=3, alpha=0.5, markeredgewidth=0.7
    )


def runs_figure(sweep: Sweep, task: str, looks: dict[str, Look]) -> Figure:
    """The final score of every run, a row per arm; runs of one base share a height, and a bar marks the arm's mean."""
    labels = [label for label in sweep.labels if sweep.chosen(label, task)]
    bases = sweep.bases()
    figure, axes = new_figure(1, 1, 0.24 * len(labels) + 1.0)
    axis = axes[0, 0]
    for place, label in enumerate(labels):
        runs = sweep.chosen(label, task)
        scores = np.array([sweep.final_score(run) for run in runs])
        heights = [place + 0.5 * ((bases.index(run.base) + 0.5) / len(bases) - 0.5) for run in runs]
        axis.plot(scores, heights, "o", markersize=3.2, alpha=0.55, color=looks[label].color, markeredgewidth=0)
        mean = np.mean([scores[[run.base == base for run in runs]].mean() for base in {run.base for run in runs}])
        axis.plot([mean] * 2, [place - 0.36, place + 0.36], color=looks[label].color, linewidth=2)
    axis.set_yticks(range(len(labels)), [shorten(label, 34) for label in labels], fontsize=8, color=style.INK)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("final score")
    return figure
