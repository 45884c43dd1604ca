"""Concentration against the gradient norm of each prompt: overall, within levels, and with length regressed out.

The paper's claim: concentrated prompts have large gradients. The gradient is taken of the answer's token-mean negative
log-probability in the last block, by one backward pass per problem; the ranks of both numbers are what is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from gainrl.app.observations.epochs import term_signals
from gainrl.app.observations.subject import Subject
from gainrl.functional.association import average_ranks, rank_residual, spearman
from gainrl.functional.streams import generator
from gainrl.report.style import INK, MUTED, figure_style
from gainrl.signals.activations import Activation
from gainrl.signals.angle import AngleSignal
from gainrl.signals.extraction import extract
from gainrl.signals.grad_norm import GradNormSignal
from gainrl.signals.length import question_lengths
from gainrl.signals.progress import Progress
from gainrl.signals.protocol import Signal
from gainrl.types import Policy

_KINDS = {"overall": "all prompts", "within_level": "within levels", "length_out": "question length regressed out"}


def gradients_table(
    subject: Subject,
    policy: Policy,
    rows: np.ndarray,
    *,
    activation: Activation,
    answer_template: str,
    progress: Callable[[Progress], None] | None = None,
) -> pd.DataFrame:
    """One row per problem: level, question length, concentration and its terms, gradient norm."""
    problems = [subject.problems[int(row)] for row in rows]
    prompts = subject.prompts(rows)
    signals: dict[str, Signal] = {
        "concentration": AngleSignal(activation=activation),
        **term_signals(activation),
        "grad_norm": GradNormSignal(answer_template=answer_template),
    }
    found = extract(signals, problems, prompts, policy, progress=progress)
    return pd.DataFrame(
        {
            "id": [problem.id for problem in problems],
            "level": [problem.level for problem in problems],
            "question_tokens": question_lengths(prompts),
            **found.values,
        }
    )


def associations(table: pd.DataFrame, *, resamples: int, seed: int) -> pd.DataFrame:
    """Spearman's rho of each concentration with the gradient norm, with 95% bootstrap intervals."""
    rows = []
    for name in ("concentration", "intra", "inter"):
        for kind, settings in _settings(table).items():
            found = spearman(
                table[name].to_numpy(),
                table["grad_norm"].to_numpy(),
                resamples=resamples,
                generator=generator(seed, "bootstrap", name, kind),
                **settings,
            )
            rows.append([name, kind, found.value, found.low, found.high, found.count])
    return pd.DataFrame(rows, columns=["signal", "kind", "rho", "low", "high", "count"])


def draw_gradients(path: Path, table: pd.DataFrame, found: pd.DataFrame, *, title: str) -> None:
    """The numbers as they are, then the ranks that the other two correlations compare."""
    sums = found[found["signal"] == "concentration"].set_index("kind")
    x, y = table["concentration"].to_numpy(np.float64), table["grad_norm"].to_numpy(np.float64)
    points = {"overall": (x, y)}
    settings = _settings(table)
    if "within_level" in settings:
        groups = settings["within_level"]["groups"]
        points["within_level"] = (_ranks_within(x, groups), _ranks_within(y, groups))
    length = settings["length_out"]["covariate"]
    points["length_out"] = (rank_residual(x, length), rank_residual(y, length))
    with figure_style():
        figure, axes = plt.subplots(1, len(points), figsize=(3.5 * len(points) + 0.6, 3.5), layout="constrained")
        shades = _shades(table)
        for axis, (kind, (across, up)) in zip(axes, points.items(), strict=True):
            drawn = axis.scatter(across, up, s=11, linewidths=0, alpha=0.75, **shades)
            rho = sums.loc[kind]
            axis.set_title(_KINDS[kind], pad=18)
            text = f"ρ = {rho['rho']:+.2f}  [{rho['low']:+.2f}, {rho['high']:+.2f}]"
            axis.text(0.0, 1.015, text, transform=axis.transAxes, fontsize=8, color=INK)
            of = {"overall": "", "within_level": "rank in its level of ", "length_out": "rank, less fit, of "}[kind]
            axis.set_xlabel(f"{of}C_intra + C_inter")
            axis.set_ylabel(f"{of}gradient norm")
        axes[0].set_yscale("log")  # norms spread over orders of magnitude
        _key(figure, axes, drawn, table)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        figure.savefig(path, dpi=160)
        plt.close(figure)


def _settings(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Arguments of `spearman` for each kind of correlation that the table allows."""
    kinds: dict[str, dict[str, Any]] = {"overall": {}}
    if table["level"].notna().all() and table["level"].nunique() > 1:
        kinds["within_level"] = {"groups": table["level"].to_numpy()}
    return {**kinds, "length_out": {"covariate": table["question_tokens"].to_numpy(np.float64)}}


def _ranks_within(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Ranks within each group, as shares of it, from 0 to 1."""
    ranks = np.full(len(values), np.nan)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        ranks[members] = (average_ranks(values[members]) - 0.5) / len(members)
    return ranks


def _shades(table: pd.DataFrame) -> dict[str, Any]:
    colored = table["level"] if table["level"].notna().all() else table["question_tokens"]
    return {"c": colored.to_numpy(np.float64), "cmap": "viridis_r"}


def _key(figure: Any, axes: Any, drawn: Any, table: pd.DataFrame) -> None:
    leveled = table["level"].notna().all()
    bar = figure.colorbar(drawn, ax=axes, shrink=0.7, aspect=25, pad=0.01)
    bar.set_label("level" if leveled else "question tokens", color=MUTED)
    bar.outline.set_visible(False)
    bar.solids.set_alpha(1.0)
    if leveled and table["level"].nunique() <= 12:
        bar.set_ticks(sorted(table["level"].unique()))
