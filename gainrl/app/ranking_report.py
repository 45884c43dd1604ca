"""The ``gainrl-rank`` report: one page of Markdown and one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from gainrl.app.ranking import Comparison, PublishedOrder, between_signals, extremes, signal_columns
from gainrl.functional.association import Association
from gainrl.signals.protocol import Problems

_NAMES = {"question_tokens": "length", "solution_lines": "solution lines", "pass_rate": "pass rate"}


def write_report(
    folder: Path,
    *,
    title: str,
    facts: list[str],
    table: pd.DataFrame,
    problems: Problems,
    signal: str,
    comparisons: list[Comparison],
    orders: list[PublishedOrder],
    resamples: int,
) -> None:
    """Writes ``report.md`` and ``report.png``; ``signal`` is the one whose extremes are shown."""
    names, matrix = between_signals(table)
    draw(folder / "report.png", title, table, names, matrix)
    parts = [
        f"# {title}",
        "\n".join(f"- {fact}" for fact in [*facts, *_findings(comparisons, orders, signal)]),
        "![Distributions and rank correlations](report.png)",
        "## Distributions",
        _distributions(table),
        "## Rank correlations",
        f"Spearman's rho with the middle 95% of {resamples} bootstrap samples of problems.",
        *_comparisons(comparisons),
        "Between the columns, over all problems:",
        _matrix(names, matrix),
    ]
    if orders:
        parts += ["## Published orders against a sort by length", _orders(orders, signal)]
    parts += [f"## Highest and lowest {signal}", _extremes(table, problems, signal)]
    (folder / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _distributions(table: pd.DataFrame) -> str:
    rows = []
    for name in [*signal_columns(table), "question_tokens"]:
        values = table[name].dropna().to_numpy()
        if len(values):
            low, lower, middle, upper, high = np.percentile(values, [0, 25, 50, 75, 100])
            numbers = [_number(x) for x in (values.mean(), values.std(), low, lower, middle, upper, high)]
            rows.append([_label(name), str(len(values)), str(len(np.unique(values))), *numbers])
    return _markdown(["", "problems", "distinct", "mean", "sd", "min", "25%", "50%", "75%", "max"], rows)


def _findings(comparisons: list[Comparison], orders: list[PublishedOrder], signal: str) -> list[str]:
    """One sentence about ``signal`` and about each published order, from the tables."""
    of_signal = {c.target: c for c in comparisons if c.signal == signal and not np.isnan(c.overall.value)}
    name, found = _label(signal), []
    if "question_tokens" in of_signal:
        rho = of_signal["question_tokens"].overall
        found.append(
            f"{name} and question length: rho {_interval(rho)}, so that length explains {rho.value**2:.0%} of it"
        )
    for target in ("pass_rate", "level", "difficulty", "solution_lines"):
        if target in of_signal:
            both = of_signal[target]
            rest = f"with question length taken out of both {_interval(both.without_length)}"
            found.append(f"{name} and {_label(target)}: rho {_interval(both.overall)}, {rest}")
    for order in orders:
        direction = ", short questions first" if order.length.value > 0 else ""
        found.append(f"published order {order.name}: rho {_interval(order.length)} with question length{direction}")
    return found


_KINDS = {
    "overall": "Over all problems:",
    "within_level": "Within levels (the mean over levels, by size):",
    "within_source": "Within sources or families of tasks (the mean over them, by size):",
    "without_length": "With length out (of the ranks that question length in tokens does not explain):",
    "within_source_without_length": "The two together, within sources or families and with length out:",
}


def _comparisons(comparisons: list[Comparison]) -> list[str]:
    """A heading and a table, signals by targets, for each kind of correlation that was taken."""
    parts = []
    for kind, heading in _KINDS.items():
        cells = {(c.signal, c.target): found for c in comparisons if (found := getattr(c, kind)) is not None}
        if cells:
            signals, targets = (list(dict.fromkeys(key[place] for key in cells)) for place in (0, 1))
            rows = [[_label(s), *(_interval(cells.get((s, target))) for target in targets)] for s in signals]
            parts += [heading, _markdown(["signal", *map(_label, targets)], rows)]
    return parts


def _matrix(names: list[str], matrix: np.ndarray) -> str:
    rows = [
        [_label(name), *("–" if np.isnan(value) else f"{value:+.2f}" for value in line)]
        for name, line in zip(names, matrix, strict=True)
    ]
    return _markdown(["", *map(_label, names)], rows)


def _orders(orders: list[PublishedOrder], signal: str) -> str:
    header = ["order", "problems", "rho with tokens", "rho with characters", f"rho with {_label(signal)}"]
    rows = [
        [
            order.name,
            str(order.problems),
            _interval(order.length),
            _interval(order.characters),
            _interval(order.signal),
            f"{order.neighbours:.1%}",
            f"{order.first_tenth:.1%}",
        ]
        for order in orders
    ]
    note = (
        "rho compares places in the order: +1 with length is a sort from short to long. *ascending* is the share "
        "of neighbours in the order that do not get shorter, *first tenth* the share of the order's first tenth that "
        "is among the shortest tenth (both in tokens of this model)."
    )
    return _markdown([*header, "ascending", "first tenth"], rows) + "\n\n" + note


def _extremes(table: pd.DataFrame, problems: Problems, signal: str) -> str:
    columns = [name for name in ("level", "difficulty", "question_tokens", "pass_rate") if name in table]
    highest, lowest = extremes(table, signal)
    rows = []
    for end, members in (("highest", highest), ("lowest", lowest)):
        for row in members:
            text = " ".join(problems[row].question.split())
            text = text if len(text) <= 90 else text[:87] + "..."
            numbers = [_number(float(table[name].iloc[row])) for name in (signal, *columns)]
            rows.append([end, str(table["id"].iloc[row]), *numbers, text.replace("|", "\\|")])
    return _markdown(["", "id", _label(signal), *map(_label, columns), "question"], rows)


def draw(target: Path, title: str, table: pd.DataFrame, names: list[str], matrix: np.ndarray) -> None:
    """Histograms of the signals above a map of their rank correlations."""
    signals = signal_columns(table)
    wide = 4
    lines = -(-len(signals) // wide)
    ink, bar = "#1f2933", "#3e7cb1"
    style: Any = {"font.size": 9, "text.color": ink, "axes.labelcolor": ink, "axes.edgecolor": "#9aa5b1"}
    with plt.rc_context(style):
        figure = plt.figure(figsize=(11, 2.1 * lines + 0.42 * len(names) + 1.8), layout="constrained")
        halves: Any = figure.subfigures(2, 1, height_ratios=[2.1 * lines, 0.42 * len(names) + 1.4])
        upper, lower = halves
        for place, name in enumerate(signals):
            axis = upper.add_subplot(lines, wide, place + 1)
            values = table[name].to_numpy()
            values = values[np.isfinite(values)]
            if len(values):
                # The outermost half per cent would squeeze all others into one bar.
                bounds = np.percentile(values, [0.5, 99.5])
                axis.hist(np.clip(values, *bounds), bins=40, color=bar)
            axis.set_title(_label(name), loc="left", fontsize=10)
            axis.set_yticks([])
            axis.spines[["top", "right", "left"]].set_visible(False)
        axis = lower.add_subplot()
        image = axis.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        axis.set_xticks(range(len(names)), list(map(_label, names)), rotation=35, ha="right")
        axis.set_yticks(range(len(names)), list(map(_label, names)))
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                color = "white" if abs(value) > 0.6 else ink
                axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=color)
        axis.set_title("Spearman's rank correlation", loc="left", fontsize=10)
        lower.colorbar(image, ax=axis, shrink=0.8)
        figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
        figure.savefig(target, dpi=130)
        plt.close(figure)


def _label(name: str) -> str:
    return _NAMES.get(name, name.replace("_", " "))


def _interval(association: Association | None) -> str:
    if association is None or np.isnan(association.value):
        return "–"
    if np.isnan(association.low):
        return f"{association.value:+.2f}"
    return f"{association.value:+.2f} [{association.low:+.2f}, {association.high:+.2f}]"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{round(value, 12) + 0.0:.4g}"  # a mean of 1e-14 is 0


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
