"""Tables of what it takes to reach a target, as a ratio to what the reference takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gainrl.report.blocks import Cell, Table, number, ranged
from gainrl.report.reader import AXES
from gainrl.report.summaries import RATIO_RUNS, TargetRow
from gainrl.report.sweep import Sweep
from gainrl.report.tables import plain

_SHORT = {
    "prompts_seen": "prompts",
    "generated_tokens": "tokens",
    "updates": "steps",
    "wall_seconds": "time",
    "rollouts": "rollouts",
}


def targets_table(sweep: Sweep, rows: Sequence[TargetRow], axes: Sequence[str], slug: str, *, with_ends: bool) -> Table:
    """Ratios of budgets; ``with_ends`` shows intervals and how many runs arrived, where there is room for them."""
    settings = sweep.settings
    by_key = {(row.label, row.axis, row.share): row for row in rows}
    shown = []
    for label in sweep.labels:
        cells = [Cell(label, arm=label)]
        for axis in axes:
            for share in settings.targets:
                row = by_key.get((label, axis, share))
                cells.append(Cell(_ratio(row, with_ends=with_ends) if row else "–"))
                if with_ends:
                    cells.append(Cell(f"{row.reached}/{row.runs}" if row else "–"))
        shown.append(cells)
    per_axis = len(settings.targets) * (2 if with_ends else 1)
    of_what = "way from first to final score" if settings.target_of == "gain" else "final score"
    names = ", ".join(AXES.get(axis, axis) for axis in axes)
    return Table(
        slug=f"{slug}{sweep.ending()}",
        caption=(
            f"What it takes{sweep.where()} ({names}) to reach a share of the {of_what} of {sweep.reference}, as a "
            f"ratio to what {sweep.reference} takes: below 1 is cheaper. Kaplan-Meier medians over runs, with runs "
            "that never arrive kept as censored. “> x”: fewer than half arrived within x times the reference's "
            "median; “at start”: the reference had the target before training. Bootstrap intervals "
            f"from {RATIO_RUNS} runs an arm on. The target is taken as known."
        ),
        columns=[
            "arm",
            *(
                text
                for _ in axes
                for share in settings.targets
                for text in ([f"{share:.0%}", "reached"] if with_ends else [f"{share:.0%}"])
            ),
        ],
        rows=shown,
        data=[
            {
                "arm": row.label,
                "axis": row.axis,
                "share": row.share,
                **plain("ratio", row.ratio),
                "longest_ratio": row.longest,
                "reached": row.reached,
                "runs": row.runs,
            }
            for row in rows
            if row.axis in axes
        ],
        groups=[("", 1), *((_SHORT.get(axis, axis), per_axis) for axis in axes)] if len(axes) > 1 else (),
        marked_row=0,
    )


def _ratio(row: TargetRow, *, with_ends: bool) -> str:
    if math.isnan(row.ratio.estimate):
        return "at start" if row.at_start else "–"
    if math.isinf(row.ratio.estimate):
        return f"> {row.longest:.2f}" if math.isfinite(row.longest) else "∞"
    return ranged(row.ratio, 2) if with_ends else number(row.ratio.estimate, 2)
