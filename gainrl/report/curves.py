"""The picture of a run, against prompts seen: accuracy by level, the curriculum's centre, concentration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

_INK, _GRID = "#1f2933", "#e4e7eb"


def draw_curves(metrics_csv: Path, target: Path, *, title: str) -> None:
    """Reads ``metrics.csv`` and writes a PNG; panels without data are left out."""
    table = pd.read_csv(metrics_csv)
    panels = [panel for panel in (_accuracy, _training, _center, _concentration) if panel(table, None)]
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
        rows = -(-len(panels) // 2)
        figure, axes = plt.subplots(rows, 2, figsize=(10.4, 3.7 * rows), squeeze=False, layout="constrained")
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for panel, axis in zip(panels, axes.flat, strict=False):
            panel(table, axis)
            axis.set_xlabel("prompts seen")
            axis.set_xlim(left=0)
            axis.margins(x=0.02)
        figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
        figure.savefig(target, dpi=150)
        plt.close(figure)


def _accuracy(table: pd.DataFrame, axis: Axes | None) -> bool:
    if "eval/accuracy" not in table:
        return False
    if axis is not None:
        rows = table.dropna(subset=["eval/accuracy"])
        levels = [name for name in table if name.startswith("eval/accuracy/level_")]
        colors = plt.get_cmap("viridis")
        for index, name in enumerate(levels):
            color = colors(0.9 * index / max(len(levels) - 1, 1))
            axis.plot(rows["prompts_seen"], rows[name], color=color, linewidth=1.4, label=name.rsplit("_", 1)[1])
        axis.plot(rows["prompts_seen"], rows["eval/accuracy"], color="#d64545", linewidth=2.6, label="mean")
        axis.set_ylim(-0.02, 1.02)
        axis.set_title("Held-out accuracy (greedy) by level", loc="left", fontsize=10)
        axis.legend(title="level", fontsize=8, title_fontsize=8, ncols=2, frameon=False, loc="best")
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
