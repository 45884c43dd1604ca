"""Conclusions from differences: families corrected in both directions, behind a gate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from gainrl.functional.statistics import holm
from gainrl.report.blocks import number, p_value, ranged
from gainrl.report.comparisons import Comparison, Conclusion, measure
from gainrl.report.sweep import Sweep


def compare(sweep: Sweep, axes: tuple[str, ...]) -> list[Comparison]:
    """All arms but the reference, for each score, judged as a report of this sweep alone."""
    return conclude_all([sweep], [measure(sweep, axes)])[0]


def conclude_all(sweeps: Sequence[Sweep], drafts: Sequence[Sequence[Comparison]]) -> list[list[Comparison]]:
    """Concludes on the primary comparisons of all sweeps, which are one family.

    The gate is judged by itself, first. Where it does not beat its reference nothing else of its sweep is concluded:
    runs that cannot show the positive control cannot show anything. An arm whose runs repeat another arm is no
    comparison of its own.
    """
    settings = sweeps[0].settings
    family, gates = [], []
    for sweep, rows in zip(sweeps, drafts, strict=True):
        judged = [row for row in rows if row.primary and row.label not in sweep.same]
        gates.append(next(iter(conclude([row for row in judged if row.label == sweep.gate], settings.alpha)), None))
        closed = gates[-1] is not None and gates[-1].conclusion != "better"
        family += [] if closed else [row for row in judged if row.label != sweep.gate]
    concluded = {id(draft): row for draft, row in zip(family, conclude(family, settings.alpha), strict=True)}
    return [
        [
            gate if gate is not None and row.primary and row.label == gate.label else concluded.get(id(row), row)
            for row in rows
        ]
        for rows, gate in zip(drafts, gates, strict=True)
    ]


def conclude(rows: Sequence[Comparison], alpha: float) -> list[Comparison]:
    """One family: Holm's correction of the tests of no difference, and of the tests of a gain of the margin or more.

    Each test has ``alpha / 2`` on its side, so that of the margin, which has one side, is doubled to be read at
    ``alpha``.
    """
    differences = holm([row.p for row in rows])
    margins = holm([_below_margin(row) for row in rows])
    concluded = []
    for row, p_holm, p_margin in zip(rows, differences.tolist(), margins.tolist(), strict=True):
        conclusion: Conclusion = "inconclusive"
        if p_holm <= alpha:
            conclusion = "better" if row.estimate.value > 0 else "worse"
        elif p_margin <= alpha:
            conclusion = "not better"
        concluded.append(replace(row, p_holm=p_holm, p_margin=p_margin, conclusion=conclusion))
    return concluded


def _below_margin(row: Comparison) -> float:
    shift = row.against_margin
    if shift is None or math.isinf(shift.error):
        return 1.0
    return min(1.0, 2 * (1 - shift.p_above()))


def sentence(row: Comparison, sweep: Sweep, others: Sequence[Comparison] = (), gate: str | None = None) -> str:
    """The finding in words, with its interval.

    ``others``: its other scores, named where they lie on the other side. ``gate``: what has to be passed, where that is
    not the sweep's own gate.
    """
    margin = number(row.margin, 3) if row.margin is not None else "the margin"
    if row.conclusion == "better":
        found = f"better than {row.reference}"
    elif row.conclusion == "worse":
        found = f"worse than {row.reference}"
    elif row.conclusion == "not better":
        found = f"an improvement of {margin} or more is ruled out"
    elif row.conclusion is None:
        twin = sweep.same.get(row.label)
        found = (
            f"the runs of {twin} under another name"
            if twin
            else f"not judged: {gate or sweep.gate} does not pass the gate"
        )
    else:
        found = f"undecided at {row.runs[0]} runs against {row.runs[1]}"
        if row.interval.excludes_zero() and row.p_holm is not None:
            found += f", its corrected p is {p_value(row.p_holm)}"
    if row.label == sweep.gate:
        found += " (the positive control: its gate is " + ("open)" if row.conclusion == "better" else "shut)")
    opposite = [
        f"but {'above' if row.conclusion == 'worse' else 'below'} zero in {other.score}, "
        f"{ranged(other.interval, sign=True)}"
        for other in others
        if (row.conclusion == "better" and other.interval.high < 0)
        or (row.conclusion == "worse" and other.interval.low > 0)
    ]
    return "; ".join([f"{row.label}: {ranged(row.interval, sign=True)}, {found}", *opposite])
