"""Tables of differences: the judged score, the others, each task by itself, and the comparisons of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gainrl.report.blocks import BadgeKind, Cell, Table, number, p_value, ranged
from gainrl.report.comparisons import Comparison
from gainrl.report.sweep import Sweep
from gainrl.report.tables import over_what, plain


def judged_table(sweep: Sweep, rows: Sequence[Comparison], comparisons: int, *, name: str = "") -> Table:
    """One score with corrected p-values and conclusions; ``comparisons``: how many they are corrected for.

    ``name``: the family of an analysis plan.
    """
    settings = sweep.settings
    several = len({row.reference for row in rows}) > 1
    margin = (
        f"{settings.margin_share:.0%} of the gain of {sweep.gate}" if settings.margin_share else f"{settings.margin:g}"
    )
    title = f"Family {name}: differences" if name else f"Differences to {sweep.reference}"
    return Table(
        slug=f"family_{_file(name)}" if name else f"differences_{_file(rows[0].score)}{sweep.ending()}",
        caption=(
            f"{title} in {rows[0].score}{sweep.where()}, the primary score: means with {settings.level:.0%} "
            f"intervals{over_what(sweep)}. p: of no difference. p (margin): of an improvement of the margin or more, "
            f"which is {margin}. Both corrected by Holm for {comparisons} "
            f"comparison{'' if comparisons == 1 else 's'}"
            + (f"; {sweep.gate} is the gate, and is judged by itself." if sweep.gate else ".")
        ),
        columns=[
            "arm",
            *(["reference"] if several else []),
            "runs",
            "difference",
            "p (Holm)",
            "margin",
            "p (margin)",
            "conclusion",
            *([] if several else ["P(improvement)"]),
        ],
        rows=[
            [
                Cell(row.label, arm=row.label),
                *([Cell(row.reference)] if several else []),
                Cell(_runs(row)),
                Cell(ranged(row.interval, sign=True)),
                Cell("–" if row.p_holm is None else p_value(row.p_holm)),
                Cell(number(row.margin)),
                Cell("–" if row.p_margin is None or row.label == sweep.gate else p_value(row.p_margin)),
                Cell(concluded_text(row, sweep), badge=row.conclusion),
                *([] if several else [Cell(number(row.improvement, 2))]),
            ]
            for row in rows
        ],
        data=[
            {
                **_numbers(row),
                "p_holm": row.p_holm,
                "margin": row.margin,
                "p_margin": row.p_margin,
                "conclusion": row.conclusion,
            }
            for row in rows
        ],
        left=2 if several else 1,
    )


def secondary_table(sweep: Sweep, rows: Sequence[Comparison]) -> Table:
    """Another score, not judged: its p-values are corrected for nothing."""
    return Table(
        slug=f"differences_{_file(rows[0].score)}{sweep.ending()}",
        caption=(
            f"Secondary: differences to {sweep.reference} in {rows[0].score}{sweep.where()}, with uncorrected p and "
            "without conclusions."
        ),
        columns=["arm", "runs", "difference", "p, uncorrected", "P(improvement)"],
        rows=[[*_cells(row), Cell(number(row.improvement, 2))] for row in rows],
        data=[_numbers(row) for row in rows],
    )


def tasks_table(sweep: Sweep, by_task: Mapping[str, Sequence[Comparison]]) -> Table:
    """The primary score in each task by itself, not judged; ``by_task``: its comparisons."""
    score = next(row.score for rows in by_task.values() for row in rows)
    return Table(
        slug=f"differences_by_task{sweep.ending()}",
        caption=(
            f"Secondary: differences to {sweep.reference} in {score}{sweep.where()} in each task by itself, with "
            "uncorrected p and without conclusions."
        ),
        columns=["task", "arm", "runs", "difference", "p, uncorrected"],
        rows=[[Cell(task or "no experiment"), *_cells(row)] for task, rows in by_task.items() for row in rows],
        data=[{"task": task, **_numbers(row)} for task, rows in by_task.items() for row in rows],
        left=2,
    )


def _cells(row: Comparison) -> list[Cell]:
    """What every table says of a comparison: arm, runs, difference and p, uncorrected."""
    return [
        Cell(row.label, arm=row.label),
        Cell(_runs(row)),
        Cell(ranged(row.interval, sign=True)),
        Cell(p_value(row.p)),
    ]


def _runs(row: Comparison) -> str:
    """Runs of the arm, and of the reference where they are not as many."""
    return str(row.runs[0]) if row.runs[0] == row.runs[1] else f"{row.runs[0]} / {row.runs[1]}"


def _numbers(row: Comparison) -> dict[str, object]:
    return {
        "arm": row.label,
        "reference": row.reference,
        "score": row.score,
        "runs": row.runs[0],
        "reference_runs": row.runs[1],
        "bases": row.bases,
        **plain("difference", row.interval),
        "error": row.estimate.error,
        "degrees_of_freedom": row.estimate.freedom,
        "p": row.p,
        "probability_of_improvement": row.improvement,
    }


def _file(score: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in score)


def concluded_text(row: Comparison, sweep: Sweep) -> str:
    if row.conclusion is None:
        return f"as {sweep.same[row.label]}" if row.label in sweep.same else "not judged"
    if row.label == sweep.gate:
        return "gate open" if row.conclusion == "better" else "gate shut"
    return str(row.conclusion)


def conclusion_badge(row: Comparison) -> BadgeKind:
    return row.conclusion or "inconclusive"
