"""C_intra and C_inter against epoch: of the prompts that trained, and of the same prompts at every stage.

The paper's claim: both rise steadily while a model trains. A curriculum changes which prompts train, so the first kind
of curve moves for two reasons and only the second says that the model has changed.
"""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from gainrl.app.observations.subject import Stage, Subject
from gainrl.report.style import MUTED, figure_style
from gainrl.signals.activations import Activation
from gainrl.signals.angle import AngleSignal
from gainrl.signals.extraction import extract
from gainrl.types import Policy

TERMS = ("intra", "inter")
_COLORS = {"intra": "#0072B2", "inter": "#D55E00"}
_COLUMNS = ["epoch", "prompts", "term", "mean", "low", "high", "count"]


def term_signals(activation: Activation) -> dict[str, AngleSignal]:
    """The two terms of the concentration as signals of their own."""
    return {
        "intra": AngleSignal(inter=0.0, activation=activation),
        "inter": AngleSignal(intra=0.0, activation=activation),
    }


def of_trained_prompts(folder: Path, steps_per_epoch: int) -> pd.DataFrame:
    """Means by epoch of what the run logged; ``low`` and ``high`` are the least and greatest of its steps."""
    table = pd.read_csv(folder / "metrics.csv")
    rows = []
    for term in TERMS:
        name = f"concentration/{term}"
        if name not in table:
            continue
        known = table.dropna(subset=[name])
        epochs = known["step"].map(lambda step: math.ceil(step / steps_per_epoch))
        for epoch, values in known.groupby(epochs)[name]:
            rows.append([int(epoch), "trained", term, values.mean(), values.min(), values.max(), len(values)])
    return pd.DataFrame(rows, columns=_COLUMNS)


def of_fixed_prompts(
    subject: Subject, stage: Stage, policy: Policy, rows: np.ndarray, activation: Activation
) -> pd.DataFrame:
    """Mean and middle 80% of the terms of the same prompts at one stage."""
    problems = [subject.problems[int(row)] for row in rows]
    values = extract(dict(term_signals(activation)), problems, subject.prompts(rows), policy).values
    epoch = stage.step / (subject.steps_per_epoch or 1)
    found = []
    for term in TERMS:
        known = values[term][~np.isnan(values[term])]
        if len(known):
            low, high = np.quantile(known, [0.1, 0.9])
            found.append([epoch, "fixed", term, known.mean(), low, high, len(known)])
    return pd.DataFrame(found, columns=_COLUMNS)


def draw_epochs(path: Path, table: pd.DataFrame, *, title: str) -> None:
    """A panel per term; the band of the fixed prompts holds the middle 80% of them."""
    terms = [term for term in TERMS if (table["term"] == term).any()]
    with figure_style():
        figure, axes = plt.subplots(1, len(terms), figsize=(4.3 * len(terms), 3.3), squeeze=False, layout="constrained")
        for axis, term in zip(axes[0], terms, strict=True):
            color = _COLORS[term]
            chosen = table[table["term"] == term]
            trained = chosen[chosen["prompts"] == "trained"].sort_values("epoch")
            fixed = chosen[chosen["prompts"] == "fixed"].sort_values("epoch")
            axis.plot(
                trained["epoch"], trained["mean"], color=color, linewidth=1.0, alpha=0.55, label="prompts trained on"
            )
            errors = np.abs(fixed[["low", "high"]].to_numpy().T - fixed["mean"].to_numpy())
            count = int(fixed["count"].max()) if len(fixed) else 0
            axis.errorbar(
                fixed["epoch"],
                fixed["mean"],
                yerr=errors if len(fixed) else None,
                color=color,
                marker="o",
                markersize=5,
                linewidth=1.8,
                elinewidth=0.8,
                capsize=3,
                label=f"the same {count} prompts throughout",
            )
            axis.set_title({"intra": "C_intra: question with itself", "inter": "C_inter: question with prefix"}[term])
            axis.set_xlabel("epoch")
            axis.margins(y=0.12)
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.legend(fontsize=7.5, labelcolor=MUTED)
        axes[0, 0].set_ylabel("mean cosine")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        figure.savefig(path, dpi=160)
        plt.close(figure)
