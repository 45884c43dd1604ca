"""Tables of arms, diagnostics and open jobs, as shown and as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence

from gainrl.functional.statistics import Interval
from gainrl.report.blocks import Cell, Table, amount, duration, number, ranged
from gainrl.report.diagnostics import distinct_share, informative_share
from gainrl.report.jobs import OpenJob
from gainrl.report.reader import AXES
from gainrl.report.summaries import ArmSummary
from gainrl.report.sweep import Sweep


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
                **plain("first", summary.first),
                **plain("final", summary.final),
                **plain("area", summary.area),
                **plain("worst_level", summary.worst_level),
                "rollouts": summary.rollouts,
                "generated_tokens": summary.generated_tokens,
                "seconds": summary.seconds,
            }
        )
    return Table(
        slug=f"arms{sweep.ending()}",
        caption=(
            f"Arms{sweep.where()}, by final score ({settings.metric}). Means over runs with {settings.level:.0%} "
            f"intervals{over_what(sweep)}; area: mean score over {AXES.get(settings.axis, settings.axis)}, from 0 to "
            f"what a run of {sweep.reference} spends; "
            + ("worst level: lowest final score of a level or family; " if with_levels else "")
            + "rollouts, tokens and time: medians. [?]: too few runs for an interval."
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


def over_what(sweep: Sweep) -> str:
    """What an interval is taken over, in words: over bases, or the one base that there is."""
    bases = sweep.bases()
    if len(bases) > 1:
        return (
            f" over {len(bases)} bases"
            if sweep.settings.over == "bases"
            else f" over seeds on these {len(bases)} bases"
        )
    return " over seeds on one base"


def diagnostics_table(sweep: Sweep) -> Table:
    values = [(label, sweep.chosen(label)) for label in sweep.labels]
    return Table(
        slug=f"diagnostics{sweep.ending()}",
        caption=(
            f"Diagnostics{sweep.where()}: share of groups that hold both right and wrong completions, mean over the "
            "run; distinct prompts as a share of prompts seen."
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


def plain(name: str, interval: Interval | None) -> dict[str, object]:
    """An estimate and its ends as three columns of a CSV file."""
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
