"""The tables of the report, as shown and as plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gainrl.app.report.blocks import BadgeKind, Cell, Table, amount, duration, number, p_value, ranged
from gainrl.app.report.comparisons import Comparison
from gainrl.app.report.diagnostics import distinct_share, informative_share
from gainrl.app.report.jobs import OpenJob
from gainrl.app.report.reader import AXES
from gainrl.app.report.summaries import ArmSummary, TargetRow
from gainrl.app.report.sweep import Sweep
from gainrl.functional.statistics import Interval

_SHORT = {
    "prompts_seen": "prompts",
    "generated_tokens": "tokens",
    "updates": "steps",
    "wall_seconds": "time",
    "rollouts": "rollouts",
}


def arms_table(sweep: Sweep, summaries: Sequence[ArmSummary]) -> Table:
    settings = sweep.settings
    with_levels = any(summary.worst_level is not None for summary in summaries)
    rows, data = [], []
    for summary in summaries:
        cells = [
            Cell(summary.label, arm=summary.label),
            Cell(str(summary.runs)),
            Cell(number(summary.first.estimate if summary.first else None)),
            Cell(ranged(summary.final)),
            Cell(ranged(summary.area)),
            *([Cell(number(summary.worst_level.estimate if summary.worst_level else None))] if with_levels else []),
            Cell(amount(summary.rollouts)),
            Cell(amount(summary.generated_tokens)),
            Cell(duration(summary.seconds)),
        ]
        rows.append(cells)
        data.append(
            {
                "arm": summary.label,
                "runs": summary.runs,
                "runs_known": summary.known_runs,
                **_plain("first", summary.first),
                **_plain("final", summary.final),
                **_plain("area", summary.area),
                **_plain("worst_level", summary.worst_level),
                "rollouts": summary.rollouts,
                "generated_tokens": summary.generated_tokens,
                "seconds": summary.seconds,
            }
        )
    return Table(
        slug="arms",
        caption=(
            f"Arms, by final score ({settings.metric}). Interquartile means over runs with {settings.level:.0%} "
            "stratified bootstrap intervals; area: mean score over the budget that all runs have, in "
            f"{AXES.get(settings.axis, settings.axis)}; "
            + ("worst level: lowest final score of a level; " if with_levels else "")
            + "rollouts, tokens and time: medians."
        ),
        columns=[
            "arm",
            "runs",
            "start",
            "final",
            "area",
            *(["worst level"] if with_levels else []),
            "rollouts",
            "tokens",
            "time",
        ],
        rows=rows,
        data=data,
        marked_row=0,
    )


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
        slug=slug,
        caption=(
            f"What it takes ({names}) to reach a share of the {of_what} of {sweep.reference}, as a ratio to what "
            f"{sweep.reference} takes: below 1 is cheaper. Kaplan-Meier medians over paired seeds, with runs that "
            "never arrive kept as censored. “> x”: fewer than half arrived within x times the reference's median; "
            "“at start”: the reference had the target before training; no interval: so it had in too many resamples."
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
                **_plain("ratio", row.ratio),
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


def differences_table(sweep: Sweep, rows: Sequence[Comparison], score: str, *, in_full: bool = True) -> Table:
    """``in_full``: whether the caption says how the numbers are made, or leaves that to the table before."""
    settings = sweep.settings
    made = (
        f": mean over paired seeds with {settings.level:.0%} bootstrap intervals, sign-flip test, Holm's correction "
        f"over the arms, verdict on an improvement at a smallest effect of {settings.smallest_effect:g}, and pairs "
        "that would show that effect with 80% power."
    )
    chosen = [row for row in rows if row.score == score]
    return Table(
        slug=f"differences_{score.replace(' ', '_')}",
        caption=f"Paired differences to {sweep.reference} in {score}{made if in_full else ', likewise.'}",
        columns=["arm", "pairs", "difference", "p", "p (Holm)", "verdict", "P(improvement)", "pairs needed"],
        rows=[
            [
                Cell(row.label, arm=row.label),
                Cell(str(row.pairs)),
                Cell(ranged(row.interval, sign=True)),
                Cell(p_value(row.p_value)),
                Cell(p_value(row.p_holm)),
                Cell(verdict_text(row), badge=verdict_badge(row)),
                Cell(ranged(row.improvement, 2)),
                Cell("–" if row.needed is None else f"{row.needed:,}"),
            ]
            for row in chosen
        ],
        data=[
            {
                "arm": row.label,
                "reference": sweep.reference,
                "score": row.score,
                "pairs": row.pairs,
                **_plain("difference", row.interval),
                "p": row.p_value,
                "p_holm": row.p_holm,
                "smallest_effect": settings.smallest_effect,
                "verdict": row.verdict,
                "worse": row.worse,
                **_plain("probability_of_improvement", row.improvement),
                "pairs_needed": row.needed,
            }
            for row in chosen
        ],
    )


def verdict_text(row: Comparison) -> str:
    return "ruled out, worse" if row.worse else row.verdict


def verdict_badge(row: Comparison) -> BadgeKind:
    return "worse" if row.worse else row.verdict


def diagnostics_table(sweep: Sweep) -> Table:
    values = [(label, sweep.chosen(label)) for label in sweep.labels]
    return Table(
        slug="diagnostics",
        caption=(
            "Diagnostics: share of groups that hold both right and wrong completions, mean over the run; distinct "
            "prompts as a share of prompts seen."
        ),
        columns=["arm", "informative groups", "distinct prompts"],
        rows=[
            [Cell(label, arm=label), Cell(number(informative_share(runs))), Cell(number(distinct_share(runs)))]
            for label, runs in values
        ],
        data=[
            {"arm": label, "informative_groups": informative_share(runs), "distinct_share": distinct_share(runs)}
            for label, runs in values
        ],
        marked_row=0,
    )


def jobs_table(jobs: Sequence[OpenJob]) -> Table:
    return Table(
        slug="open_jobs",
        caption="Jobs without a finished run.",
        columns=["arm", "seed", "status", "what is known"],
        rows=[[Cell(job.arm), Cell(job.seed), Cell(job.status, badge=job.kind), Cell(job.detail)] for job in jobs],
        data=[{"arm": j.arm, "seed": j.seed, "status": j.status, "detail": j.detail, "folder": j.folder} for j in jobs],
        left=4,
    )


def _plain(name: str, interval: Interval | None) -> dict[str, object]:
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
