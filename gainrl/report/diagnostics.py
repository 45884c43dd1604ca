"""Figures that explain a result: informative groups, distinct prompts, the window's path, the mix of levels."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import gainrl.report.style as style
from gainrl.report.figures import at_most, budget_axis, draw_curve, legend_below, new_figure, shorten
from gainrl.report.reader import Run
from gainrl.report.series import Curve, column_curves, level_shares
from gainrl.report.style import Look
from gainrl.report.sweep import Sweep

_SMOOTH = 15
_MOST_BANDS = 5


def paths_figure(sweep: Sweep, task: str, looks: dict[str, Look]) -> tuple[Figure, list[str]] | None:
    """Informative groups, distinct prompts and centres against prompts, with what was left out for want of columns."""
    distinct = _distinct_name(sweep, task)
    centers = [_scaled(curve, 1.0) for curve in column_curves(sweep, "curriculum/center_fraction", task)]
    centers += [_scaled(curve, 100.0) for curve in column_curves(sweep, "curriculum/target", task)]
    panels = [
        ("Informative groups", "share of groups", column_curves(sweep, "informative_groups", task, smooth=_SMOOTH)),
        ("Distinct prompts seen", "prompts", column_curves(sweep, distinct, task)),
        ("Centre of the window", "rank / pool, or target / 100", centers),
    ]
    absent = [title.lower() for title, _, curves in panels if not curves]
    panels = [panel for panel in panels if panel[2]]
    if not panels:
        return None
    figure, axes = new_figure(1, len(panels), 3.1)
    for (title, ylabel, curves), axis in zip(panels, axes[0], strict=True):
        budget_axis(axis, "prompts_seen", max(curve.budgets[-1] for curve in curves))
        for curve in reversed(curves):
            draw_curve(axis, curve, looks[curve.label], 1.0, band=len(curves) <= _MOST_BANDS)
        if title.startswith("Distinct"):
            end = max(curve.budgets[-1] for curve in curves)
            top = max(curve.middle.max() for curve in curves)
            axis.plot([0, min(end, top)], [0, min(end, top)], color=style.MUTED, linewidth=0.7, linestyle=":")
            axis.set_ylim(0, top * 1.05)
        axis.set_title(title)
        axis.set_ylabel(ylabel)
    legend_below(figure, looks, [label for label in sweep.labels if sweep.chosen(label, task)])
    return figure, absent


def _distinct_name(sweep: Sweep, task: str) -> str:
    """The framework's own count where the runs have it; curricula that count for themselves otherwise."""
    runs = [run for label in sweep.labels for run in sweep.chosen(label, task)]
    recorded = any("selection/distinct_prompts" in run.columns for run in runs)
    return "selection/distinct_prompts" if recorded else "curriculum/distinct_prompts"


def _scaled(curve: Curve, unit: float) -> Curve:
    return Curve(
        curve.label, curve.budgets, curve.middle / unit, curve.low / unit, curve.high / unit, curve.runs / unit
    )


def levels_figure(sweep: Sweep, task: str, looks: dict[str, Look]) -> Figure | None:
    """Share of the prompts from each level over the run, one panel per arm."""
    shown = [sweep.reference, *at_most(sweep.others)]
    mixes = {label: level_shares(sweep, label, task) for label in shown}
    mixes = {label: mix for label, mix in mixes.items() if mix[1]}
    if not mixes:
        return None
    levels = sorted(
        {level for _, shares in mixes.values() for level in shares},
        key=lambda text: (not text.isdigit(), len(text) if text.isdigit() else 0, text),
    )
    shades = matplotlib.colormaps["cividis"](np.linspace(0.05, 0.97, len(levels)))
    columns = min(5, len(mixes))
    rows = -(-len(mixes) // columns)
    figure, axes = new_figure(rows, columns, 1.45 * rows + 0.75, sharex=True, sharey=True)
    for (label, (middles, shares)), axis in zip(mixes.items(), axes.flat, strict=False):
        stack = [shares.get(level, np.zeros(len(middles))) for level in levels]
        axis.stackplot(middles, stack, colors=shades, linewidth=0)
        axis.set_title(shorten(label, 24), fontsize=8, color=looks[label].color, fontweight="bold")
        _bare(axis)
    for place, axis in enumerate(axes.flat):
        axis.set_visible(place < len(mixes))
        if place < len(mixes) <= place + columns:
            axis.tick_params(labelbottom=True)
            axis.set_xlabel("share of the run")
    figure.supylabel("share of prompts", fontsize=8.5)
    handles = [
        Patch(color=shade, label=f"level {level}" if level.isdigit() else level)
        for level, shade in zip(levels, shades, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(levels), 8), handlelength=1.0)
    return figure


def _bare(axis: Axes) -> None:
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    axis.set_yticks([0, 0.5, 1], ["0", "½", "1"])
    axis.grid(visible=False)


def informative_share(runs: Sequence[Run]) -> float:
    """Mean share of informative groups over all steps of all runs."""
    values = [
        float(np.nanmean(run.columns["informative_groups"]))
        for run in runs
        if "informative_groups" in run.columns and not np.isnan(run.columns["informative_groups"]).all()
    ]
    return float(np.mean(values)) if values else float("nan")


def distinct_share(runs: Sequence[Run]) -> float:
    """Distinct prompts at the end over prompts seen, mean over runs."""
    shares = []
    for run in runs:
        counts = run.columns.get("selection/distinct_prompts", run.columns.get("curriculum/distinct_prompts"))
        if counts is not None and len(counts) and run.columns["prompts_seen"][-1] > 0:
            shares.append(float(counts[-1] / run.columns["prompts_seen"][-1]))
    return float(np.mean(shares)) if shares else float("nan")
