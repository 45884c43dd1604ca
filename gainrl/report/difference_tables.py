"""Tables of paired differences: the judged score, the others, and each task by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gainrl.report.blocks import BadgeKind, Cell, Table, p_value, ranged
from gainrl.report.comparisons import Comparison
from gainrl.report.sweep import Sweep
from gainrl.report.tables import plain


def judged_table(sweep: Sweep, rows: Sequence[Comparison], comparisons: int) -> Table:
    """The primary score, with corrected p-values and verdicts; ``comparisons``: how many they are corrected for."""
    settings = sweep.settings
    return Table(
        slug=f"differences_{_file(rows[0].score)}{sweep.ending()}",
        caption=(
            f"Paired differences to {sweep.reference} in {rows[0].score}{sweep.where()}, the primary score: mean "
            f"over paired seeds with {settings.level:.0%} intervals, sign-flip test, Holm's correction for "
            f"{comparisons} comparison{'' if comparisons == 1 else 's'}, verdict on an improvement at a smallest "
            f"effect of {settings.smallest_effect:g}, and pairs that would show that effect with 80% power."
        ),
        columns=["arm", "pairs", "difference", "p", "p (Holm)", "verdict", "P(improvement)", "pairs needed"],
        rows=[
            [
                *_cells(row),
                Cell("–" if row.p_holm is None else p_value(row.p_holm)),
                Cell(verdict_text(row), badge=verdict_badge(row)),
                Cell(ranged(row.improvement, 2)),
                Cell("–" if row.needed is None else f"{row.needed:,}"),
            ]
            for row in rows
        ],
        data=[
            {
                **_numbers(sweep, row),
                "p_holm": row.p_holm,
                "smallest_effect": settings.smallest_effect,
                "verdict": row.verdict,
                "worse": row.worse,
                "pairs_needed": row.needed,
            }
            for row in rows
        ],
    )


def secondary_table(sweep: Sweep, rows: Sequence[Comparison]) -> Table:
    """Another score, not judged: its p-values are corrected for nothing."""
    return Table(
        slug=f"differences_{_file(rows[0].score)}{sweep.ending()}",
        caption=(
            f"Secondary: paired differences to {sweep.reference} in {rows[0].score}{sweep.where()}, with uncorrected p "
            "and without verdicts."
        ),
        columns=["arm", "pairs", "difference", "p, uncorrected", "P(improvement)"],
        rows=[
            [
                *_cells(row),
                Cell(ranged(row.improvement, 2)),
            ]
            for row in rows
        ],
        data=[_numbers(sweep, row) for row in rows],
    )


def tasks_table(sweep: Sweep, by_task: Mapping[str, Sequence[Comparison]]) -> Table:
    """The primary score in each task by itself, not judged; ``by_task``: its comparisons."""
    score = next(row.score for rows in by_task.values() for row in rows)
    return Table(
        slug=f"differences_by_task{sweep.ending()}",
        caption=(
            f"Secondary: paired differences to {sweep.reference} in {score}{sweep.where()} in each task by itself, "
            "with uncorrected p and without verdicts."
        ),
        columns=["task", "arm", "pairs", "difference", "p, uncorrected"],
        rows=[
            [
                Cell(task or "no experiment"),
                *_cells(row),
            ]
            for task, rows in by_task.items()
            for row in rows
        ],
        data=[{"task": task, **_numbers(sweep, row)} for task, rows in by_task.items() for row in rows],
        left=2,
    )


def _cells(row: Comparison) -> list[Cell]:
    """What every table says of a comparison: arm, pairs, difference and p, uncorrected."""
    return [
        Cell(row.label, arm=row.label),
        Cell(str(row.pairs)),
        Cell(ranged(row.interval, sign=True)),
        Cell(p_value(row.p_value)),
    ]


def _numbers(sweep: Sweep, row: Comparison) -> dict[str, object]:
    return {
        "arm": row.label,
        "reference": sweep.reference,
        "score": row.score,
        "pairs": row.pairs,
        **plain("difference", row.interval),
        "p": row.p_value,
        **plain("probability_of_improvement", row.improvement),
    }


def _file(score: str) -> str:
    return score.replace(" ", "_")


def verdict_text(row: Comparison) -> str:
    return "ruled out, worse" if row.worse else str(row.verdict)


def verdict_badge(row: Comparison) -> BadgeKind:
    return "worse" if row.worse else row.verdict or "inconclusive"
