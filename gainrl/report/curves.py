"""The picture of a run against prompts seen: held-out scores by level or family, the window, concentration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from gainrl.report.arms import arm_settings, short_names
from gainrl.report.reader import Run, base_of, part_columns, part_name
from gainrl.report.style import looks as style_looks

_INK, _GRID = "#1f2933", "#e4e7eb"


_MANY = 8  # parts from which on the accuracy takes a row of its own, with their names beside it
_LONGEST_TITLE = 100


def run_title(config: Mapping[str, Any]) -> str:
    """What a run is, in words: its experiment, what else was typed that decides its numbers, base and seed."""
    settings = config.get("run") or {}
    overrides = tuple(map(str, settings.get("overrides") or ()))
    run = Run("", "default", int(config.get("seed", 0)), "", overrides=overrides, base=base_of(config), config=config)
    chosen = arm_settings(run)
    words = [str(settings["experiment"])] if settings.get("experiment") else []
    short = short_names(list(chosen))
    words += [value if key == "baseline" else f"{short[key]} {value}" for key, value in chosen.items()]
    title = ", ".join(words) or "the default"
    title = title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"
    return title + (f", base {run.base}" if run.base != "0" else "") + f", seed {run.seed}"


def draw_curves(metrics_csv: Path, target: Path, *, title: str) -> None:
    """Reads ``metrics.csv`` and writes a PNG; panels without data are left out."""
    table = pd.read_csv(metrics_csv)
    panels = [panel for panel in (_accuracy, _solutions, _training, _center, _concentration) if panel(table, None)]
    odd = len(panels) % 2 == 1
    wide = odd or (_accuracy in panels and len(part_columns(table, "eval/accuracy")) > _MANY)
    style: Any = {
        "font.size": 10,
        "axes.edgecolor": "#9aa5b1",
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "text.color": _INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": _GRID,
        "grid.linewidth": 0.8,
    }
    with plt.rc_context(style):
        columns = 2 if odd or not wide else len(panels) - 1
        places = list(range(len(panels))) if not wide else [0, *range(columns, columns + len(panels) - 1)]
        rows = places[-1] // columns + 1
        figure = plt.figure(figsize=(10.4, 3.7 * rows), layout="constrained")
        grid = figure.add_gridspec(rows, columns)
        for place, panel in zip(places, panels, strict=True):
            axis = figure.add_subplot(grid[0, :] if wide and place == 0 else grid[divmod(place, columns)])
            panel(table, axis)
            axis.set_xlabel("prompts seen")
            axis.set_xlim(left=0)
            axis.margins(x=0.02)
        figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
        figure.savefig(target, dpi=150)
        plt.close(figure)


def _accuracy(table: pd.DataFrame, axis: Axes | None) -> bool:
    """The score and its parts: levels in the order of a colour map, families by name, the best at the end first."""
    if "eval/accuracy" not in table:
        return False
    if axis is not None:
        rows = table.dropna(subset=["eval/accuracy"])
        parts = part_columns(table, "eval/accuracy")
        levels = all(part_name(name).isdigit() for name in parts)
        if not levels:
            parts.sort(key=lambda name: -float(rows[name].iloc[-1]))
        looks = style_looks([part_name(name) for name in parts], "")
        colors = plt.get_cmap("viridis")
        for index, name in enumerate(parts):
            shade = {"color": colors(0.9 * index / max(len(parts) - 1, 1)), "linewidth": 1.4}
            look = shade if levels else {**looks[part_name(name)].line(), "linewidth": 1.4}
            label = part_name(name) if levels else f"{part_name(name)}  {rows[name].iloc[-1]:.2f}"
            axis.plot(rows["prompts_seen"], rows[name], label=label, **look)
        mean = "mean" if levels else f"mean  {rows['eval/accuracy'].iloc[-1]:.2f}"
        axis.plot(rows["prompts_seen"], rows["eval/accuracy"], color="#d64545", linewidth=2.6, label=mean)
        axis.set_ylim(-0.02, 1.02)
        axis.set_title(f"Held-out accuracy (greedy) by {'level' if levels else 'family'}", loc="left", fontsize=10)
        if len(parts) > _MANY:
            axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
        else:
            title = "level" if levels else None
            axis.legend(title=title, fontsize=8, title_fontsize=8, ncols=2, frameon=False, loc="best")
    return True


def _solutions(table: pd.DataFrame, axis: Axes | None) -> bool:
    name = "eval/solution_logprob"
    if name not in table:
        return False
    if axis is not None:
        rows = table.dropna(subset=[name])
        for part in part_columns(table, name):
            axis.plot(rows["prompts_seen"], rows[part], color="#9aa5b1", linewidth=0.9)
        axis.plot(rows["prompts_seen"], rows[name], color="#d64545", linewidth=2.6)
        axis.set_title("Log-probability of held-out solutions (nats per token)", loc="left", fontsize=10)
    return True


def _training(table: pd.DataFrame, axis: Axes | None) -> bool:
    if "accuracy" not in table:
        return False
    if axis is not None:
        rows = table.dropna(subset=["accuracy"])
        for name, label, color in (
            ("accuracy", "accuracy of rollouts", "#2680c2"),
            ("informative_groups", "informative groups", "#e9a23b"),
        ):
            smooth = rows[name].rolling(max(1, len(rows) // 40), min_periods=1, center=True).mean()
            axis.plot(rows["prompts_seen"], rows[name], color=color, alpha=0.2, linewidth=0.7)
            axis.plot(rows["prompts_seen"], smooth, color=color, linewidth=2, label=label)
        axis.set_ylim(-0.02, 1.02)
        axis.set_title("Training rollouts", loc="left", fontsize=10)
        axis.legend(fontsize=8, frameon=False, loc="best")
    return True


def _center(table: pd.DataFrame, axis: Axes | None) -> bool:
    name = "curriculum/center_fraction"
    if name not in table:
        return False
    if axis is not None:
        rows = table.dropna(subset=[name])
        spread = rows["curriculum/width"] / (rows["curriculum/center"] / rows[name]).where(rows[name] > 0)
        spread = spread.bfill().ffill()
        axis.fill_between(
            rows["prompts_seen"],
            (rows[name] - spread).clip(0, 1),
            (rows[name] + spread).clip(0, 1),
            color="#8719e0",
            alpha=0.15,
            linewidth=0,
            label="± width",
        )
        axis.plot(rows["prompts_seen"], rows[name], color="#8719e0", linewidth=2, label="centre")
        axis.set_ylim(-0.02, 1.02)
        axis.set_title("Window over the ranked pool", loc="left", fontsize=10)
        axis.set_ylabel("rank / pool size")
        axis.legend(fontsize=8, frameon=False, loc="best")
    return True


def _concentration(table: pd.DataFrame, axis: Axes | None) -> bool:
    if "concentration" not in table:
        return False
    if axis is not None:
        rows = table.dropna(subset=["concentration"])
        smooth = rows["concentration"].rolling(max(1, len(rows) // 40), min_periods=1, center=True).mean()
        axis.plot(rows["prompts_seen"], rows["concentration"], color="#0c6b58", alpha=0.25, linewidth=0.7)
        axis.plot(rows["prompts_seen"], smooth, color="#0c6b58", linewidth=2)
        axis.set_title("Angle concentration of trained prompts", loc="left", fontsize=10)
    return True
