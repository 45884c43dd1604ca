"""Accuracy against epoch by quartile of the concentration before training, over the pool and within levels.

The paper's claim: prompts of high concentration are learnt first. Quartiles within levels hold the same share of every
level, so that what is left between them is not difficulty as labelled. A run with uniform draws (baseline=vanilla_grpo)
shows every quartile in every epoch; a curriculum shows each when it serves it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from gainrl.app.observations.subject import Subject
from gainrl.functional.association import average_ranks
from gainrl.report.style import MUTED, figure_style
from gainrl.signals.activations import Activation
from gainrl.signals.angle import AngleSignal
from gainrl.signals.extraction import extract
from gainrl.types import Policy

NAMES = ("highest", "second", "third", "lowest")
_COLORS = ("#882255", "#D55E00", "#56B4E9", "#0072B2")
_BINS = 25
_FEWEST = 24  # completions below which a point says nothing
_EXCLUDED = {"gold_unparsable", "error"}


def completions(folder: Path, steps_per_epoch: int) -> pd.DataFrame:
    """Problem, epoch and verdict of every completion that was judged."""
    rows = []
    with open(folder / "rollouts.jsonl", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if record["verdict"] not in _EXCLUDED:
                epoch = math.ceil(record["step"] / steps_per_epoch)
                rows.append((record["id"], epoch, record["verdict"] == "correct"))
    return pd.DataFrame(rows, columns=["id", "epoch", "correct"])


def start_concentration(subject: Subject, policy: Policy, activation: Activation) -> pd.DataFrame:
    """Id, level and concentration of every training problem under the model before training."""
    rows = np.arange(len(subject.problems))
    problems = [subject.problems[int(row)] for row in rows]
    found = extract({"angle": AngleSignal(activation=activation)}, problems, subject.prompts(rows), policy)
    levels = [problem.level for problem in problems]
    return pd.DataFrame(
        {"id": [problem.id for problem in problems], "level": levels, "concentration": found.values["angle"]}
    )


def quartile_of(values: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """``[N]`` quartile of each value, 0 the highest, of all values or of its group; -1 where the value is NaN."""
    labels = np.zeros(len(values), np.int64) if groups is None else np.unique(groups, return_inverse=True)[1]
    quartiles = np.full(len(values), -1)
    for label in np.unique(labels):
        members = np.flatnonzero((labels == label) & ~np.isnan(values))
        ranks = average_ranks(-values[members])
        quartiles[members] = np.minimum(4 * (ranks - 0.5) // max(len(members), 1), 3)
    return quartiles


def quartiles_table(drawn: pd.DataFrame, start: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by quartile and epoch; ``first`` and ``last`` are the epochs that a row joins."""
    values = start["concentration"].to_numpy(np.float64)
    start = start.assign(pool=quartile_of(values))
    if start["level"].notna().all():
        start = start.assign(level_matched=quartile_of(values, start["level"].to_numpy()))
    joined = drawn.merge(start, on="id")
    width = max(1, math.ceil(joined["epoch"].max() / _BINS)) if len(joined) else 1
    bins = (joined["epoch"] - 1) // width
    parts = []
    for kind in ("pool", "level_matched"):
        if kind not in joined:
            continue
        means = joined.groupby([bins.rename("bin"), joined[kind].rename("quartile")])["correct"].agg(["mean", "size"])
        means = means.reset_index().query("quartile >= 0")
        parts.append(
            pd.DataFrame(
                {
                    "quartiles": kind,
                    "quartile": [NAMES[int(index)] for index in means["quartile"]],
                    "first": means["bin"] * width + 1,
                    "last": (means["bin"] + 1) * width,
                    "accuracy": means["mean"],
                    "completions": means["size"],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def draw_quartiles(path: Path, table: pd.DataFrame, *, title: str) -> None:
    """Two panels, quartiles of the pool and within levels; points of few completions are left out."""
    kinds = [kind for kind in ("pool", "level_matched") if (table["quartiles"] == kind).any()]
    heads = {"pool": "quartiles of the whole pool", "level_matched": "quartiles within each level"}
    with figure_style():
        figure, axes = plt.subplots(
            1, len(kinds), figsize=(4.3 * len(kinds), 3.3), squeeze=False, sharey=True, layout="constrained"
        )
        for axis, kind in zip(axes[0], kinds, strict=True):
            for name, color in zip(NAMES, _COLORS, strict=True):
                rows = table[(table["quartiles"] == kind) & (table["quartile"] == name)].sort_values("first")
                middle = (rows["first"] + rows["last"]) / 2
                shown = rows["accuracy"].where(rows["completions"] >= _FEWEST)
                axis.plot(middle, shown, color=color, marker="o", markersize=3, linewidth=1.6, label=name)
            axis.set_ylim(-0.02, 1.02)
            axis.set_title(heads[kind])
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
        axes[0, 0].set_ylabel("accuracy of the rollouts")
        legend = axes[0, 0].legend(
            title="concentration before training", fontsize=7.5, title_fontsize=7.5, loc="best", alignment="left"
        )
        legend.get_title().set_color(MUTED)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        figure.savefig(path, dpi=160)
        plt.close(figure)
