"""The report in its five parts: curves, arms, differences, diagnostics, open jobs; each once per block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import gainrl.report.style as style
from gainrl.report.analysis_plan import Planned, plan_blocks
from gainrl.report.blocks import Block, Bullets, Document, Figure, Heading, Paragraph
from gainrl.report.caveats import warnings
from gainrl.report.comparisons import Comparison, measure
from gainrl.report.conclusions import conclude_all, sentence
from gainrl.report.difference_tables import conclusion_badge, judged_table, secondary_table, tasks_table
from gainrl.report.drawn import curve_blocks, diagnostic_blocks
from gainrl.report.figures import differences_figure, runs_figure, save
from gainrl.report.jobs import open_jobs
from gainrl.report.methods import made_with, methods
from gainrl.report.reader import Run
from gainrl.report.style import Look
from gainrl.report.summaries import axes_of, budgets_to_targets, summarise
from gainrl.report.sweep import Sweep
from gainrl.report.tables import arms_table, jobs_table, over_what
from gainrl.report.target_tables import targets_table


def write_document(
    sweeps: Sequence[Sweep],
    folders: Sequence[Path],
    figures: Path,
    *,
    title: str,
    known: Sequence[Run] = (),
    unscored: Sequence[Run] = (),
    planned: Planned | None = None,
) -> Document:
    """Computes everything and draws the figures into a folder. ``known`` and ``unscored``: as for `open_jobs`.

    ``planned``: an analysis plan and what it concludes; nothing else is concluded then.
    """
    looks = looks_of(sweeps)
    document = Document(title, _subtitle(sweeps))
    axes = [axes_of(sweep) for sweep in sweeps]
    comparisons = [measure(sweep, own) for sweep, own in zip(sweeps, axes, strict=True)]
    if planned is None:
        comparisons = conclude_all(sweeps, comparisons)
    blocks = document.blocks
    if planned is not None:
        blocks += plan_blocks(planned)
    if found := warnings(sweeps, axes):
        blocks.append(Bullets("Read this first", found, "warning"))
    if planned is None:
        for sweep, rows in zip(sweeps, comparisons, strict=True):
            blocks += _findings(sweep, rows)
    judged = sum(
        row.conclusion is not None and row.label != s.gate
        for s, rows in zip(sweeps, comparisons, strict=True)
        for row in rows
    )
    with style.figure_style():
        blocks.append(Heading("Learning curves"))
        for sweep in sweeps:
            blocks += curve_blocks(sweep, looks, figures)
        blocks.append(Heading("Arms"))
        for sweep, own in zip(sweeps, axes, strict=True):
            blocks += _arms(sweep, own, looks, figures)
        blocks.append(Heading("Differences"))
        for sweep, own, rows in zip(sweeps, axes, comparisons, strict=True):
            blocks += _differences(sweep, own, rows, judged, looks, figures)
        blocks.append(Heading("Diagnostics"))
        for sweep in sweeps:
            blocks += diagnostic_blocks(sweep, looks, figures)
    blocks.append(Heading("Missing and failed jobs"))
    jobs = open_jobs(sweeps, folders, known=known, unscored=unscored)
    blocks.append(jobs_table(jobs) if jobs else Paragraph("None: every job has a finished run."))
    blocks.append(Heading("How the numbers are made"))
    blocks += [Paragraph(text) for text in methods(sweeps, axes)]
    if versions := made_with(sweeps):
        blocks.append(Paragraph(versions))
    return document


def looks_of(sweeps: Sequence[Sweep]) -> dict[str, Look]:
    """One look per arm over all blocks."""
    labels = list(dict.fromkeys(label for sweep in sweeps for label in sweep.labels))
    return style.looks(labels, sweeps[0].reference)


def _subtitle(sweeps: Sequence[Sweep]) -> str:
    runs = [run for sweep in sweeps for run in sweep.all_runs()]
    compared = sum(len(sweep.chosen(label)) for sweep in sweeps for label in sweep.labels)
    labels = {label for sweep in sweeps for label in sweep.labels}
    tasks = {run.task for run in runs}
    several = f" on {len(tasks)} tasks" if len(tasks) > 1 else ""
    several += f" in {_count(len(sweeps), 'block')}" if len(sweeps) > 1 else ""
    references = " or ".join(dict.fromkeys(sweep.reference for sweep in sweeps))
    settings = sweeps[0].settings
    margin = f"{settings.margin_share:.0%} of the gate's gain" if settings.margin_share else f"{settings.margin:g}"
    return (
        f"{_count(len(labels), 'arm')}, {_count(len({run.base for run in runs}), 'base')}, "
        f"{_count(len({run.seed for run in runs}), 'seed')}{several}; {compared} of "
        f"{_count(len(runs), 'run')} compared; reference {references}; margin {margin} in {settings.metric}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _findings(sweep: Sweep, rows: Sequence[Comparison]) -> Iterator[Block]:
    primary = [row for row in rows if row.primary]
    if primary:
        score = primary[0].score
        yield Bullets(
            f"{score[0].upper()}{score[1:]}{sweep.where()}, difference to {sweep.reference}",
            [sentence(row, sweep, [other for other in rows if other.label == row.label]) for row in primary],
            "finding",
            [conclusion_badge(row) for row in primary],
        )


def _arms(sweep: Sweep, axes: tuple[str, ...], looks: Mapping[str, Look], folder: Path) -> Iterator[Block]:
    yield arms_table(sweep, summarise(sweep))
    for task in sweep.tasks:
        slug = f"runs{sweep.ending(task)}"
        yield Figure(
            slug,
            f"Final score of every run{sweep.where(task)} and the mean of each arm (bar)"
            + ("; runs of one base are at one height." if len(sweep.bases()) > 1 else "."),
            save(runs_figure(sweep, task, dict(looks)), folder, slug),
        )
    targets = budgets_to_targets(sweep, axes)
    if axes:
        yield targets_table(sweep, targets, axes[:1], "budget_to_target", with_ends=True)
    others = tuple(axis for axis in axes[1:] if axis != "rollouts" or sweep.pays_extra_rollouts())
    if others:
        yield targets_table(sweep, targets, others, "budget_to_target_other_axes", with_ends=False)
    for single in _single_tasks(sweep) if axes else ():
        yield targets_table(
            single, budgets_to_targets(single, axes[:1]), axes[:1], "budget_to_target_in", with_ends=True
        )


def _single_tasks(sweep: Sweep) -> list[Sweep]:
    """Each task by itself, where there are several."""
    return [sweep.of_task(task) for task in sweep.tasks] if len(sweep.tasks) > 1 else []


def _differences(
    sweep: Sweep,
    axes: tuple[str, ...],
    rows: Sequence[Comparison],
    judged: int,
    looks: Mapping[str, Look],
    folder: Path,
) -> Iterator[Block]:
    if not rows:
        yield Paragraph(f"No other arm{sweep.where()} shares a base with {sweep.reference}.")
        return
    level = f"{sweep.settings.level:.0%}"
    yield Figure(
        f"differences{sweep.ending()}",
        f"Differences to {sweep.reference}{sweep.where()} with {level} intervals{over_what(sweep)}; ticks are runs "
        "less the reference's mean on their base, filled points exclude zero (uncorrected), the grey stripe is less "
        "than the margin either way.",
        save(differences_figure(rows, dict(looks), sweep), folder, f"differences{sweep.ending()}"),
    )
    scores = {name: [row for row in rows if row.score == name] for name in dict.fromkeys(row.score for row in rows)}
    for chosen in scores.values():
        concluded = chosen[0].primary and judged
        yield judged_table(sweep, chosen, judged) if concluded else secondary_table(sweep, chosen)
    by_task = {
        str(single.only): [row for row in measure(single, axes) if row.primary] for single in _single_tasks(sweep)
    }
    if any(by_task.values()):
        yield tasks_table(sweep, by_task)
