"""The report in its five parts: curves, arms, paired differences, diagnostics, open jobs; each once per block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import gainrl.report.style as style
from gainrl.report.blocks import Block, Bullets, Document, Figure, Heading, Paragraph
from gainrl.report.checks import warnings
from gainrl.report.comparisons import Comparison, compare, judge, measure, sentence
from gainrl.report.difference_tables import judged_table, secondary_table, tasks_table, verdict_badge
from gainrl.report.drawn import curve_blocks, diagnostic_blocks
from gainrl.report.figures import differences_figure, improvement_figure, save
from gainrl.report.jobs import open_jobs
from gainrl.report.methods import made_with, methods
from gainrl.report.reader import Run
from gainrl.report.style import Look
from gainrl.report.summaries import axes_of, budgets_to_targets, summarise
from gainrl.report.sweep import Sweep
from gainrl.report.tables import arms_table, jobs_table
from gainrl.report.target_tables import targets_table


def write_document(
    sweeps: Sequence[Sweep],
    folders: Sequence[Path],
    figures: Path,
    *,
    title: str,
    known: Sequence[Run] = (),
    unscored: Sequence[Run] = (),
) -> Document:
    """Computes everything and draws the figures into a folder. ``known`` and ``unscored``: as for `open_jobs`."""
    looks = looks_of(sweeps)
    document = Document(title, _subtitle(sweeps))
    axes = [axes_of(sweep) for sweep in sweeps]
    drafts = [measure(sweep, own) for sweep, own in zip(sweeps, axes, strict=True)]
    comparisons = judge(drafts, sweeps[0].settings)
    judged = sum(row.primary for rows in comparisons for row in rows)
    blocks = document.blocks
    if found := warnings(sweeps, axes):
        blocks.append(Bullets("Read this first", found, "warning"))
    for sweep, rows in zip(sweeps, comparisons, strict=True):
        blocks += _findings(sweep, rows)
    with style.figure_style():
        blocks.append(Heading("Learning curves"))
        for sweep in sweeps:
            blocks += curve_blocks(sweep, looks, figures)
        blocks.append(Heading("Arms"))
        for sweep, own in zip(sweeps, axes, strict=True):
            blocks += _arms(sweep, own)
        blocks.append(Heading("Paired differences"))
        for sweep, own, rows in zip(sweeps, axes, comparisons, strict=True):
            blocks += _differences(sweep, own, rows, judged, looks, figures)
        blocks.append(Heading("Diagnostics"))
        for sweep in sweeps:
            blocks += diagnostic_blocks(sweep, looks, figures)
    blocks.append(Heading("Missing and failed jobs"))
    jobs = open_jobs(sweeps, folders, known=known, unscored=unscored)
    blocks.append(jobs_table(jobs) if jobs else Paragraph("None: every job has a finished run."))
    blocks.append(Heading("How the numbers are made"))
    blocks += [Paragraph(text) for text in methods(sweeps)]
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
    return (
        f"{_count(len(labels), 'arm')}, {_count(len({run.seed for run in runs}), 'seed')}{several}; {compared} of "
        f"{_count(len(runs), 'run')} compared; reference {references}; smallest effect of interest "
        f"{settings.smallest_effect:g} in {settings.metric}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _findings(sweep: Sweep, rows: Sequence[Comparison]) -> Iterator[Block]:
    primary = [row for row in rows if row.primary]
    if primary:
        score = primary[0].score
        yield Bullets(
            f"{score[0].upper()}{score[1:]}{sweep.where()}, paired difference to {sweep.reference}",
            [sentence(row, sweep, [other for other in rows if other.label == row.label]) for row in primary],
            "finding",
            [verdict_badge(row) for row in primary],
        )


def _arms(sweep: Sweep, axes: tuple[str, ...]) -> Iterator[Block]:
    yield arms_table(sweep, summarise(sweep))
    targets = budgets_to_targets(sweep, axes)
    yield targets_table(sweep, targets, axes[:1], "budget_to_target", with_ends=True)
    others = tuple(axis for axis in axes[1:] if axis != "rollouts" or sweep.pays_extra_rollouts())
    if others:
        yield targets_table(sweep, targets, others, "budget_to_target_other_axes", with_ends=False)
    for single in _single_tasks(sweep):
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
        yield Paragraph(f"No other arm{sweep.where()} shares a seed with {sweep.reference}.")
        return
    effect, level = sweep.settings.smallest_effect, f"{sweep.settings.level:.0%}"
    yield Figure(
        f"differences{sweep.ending()}",
        f"Mean paired differences to {sweep.reference}{sweep.where()} with {level} intervals; ticks are single pairs, "
        f"filled points exclude zero (uncorrected), the grey stripe is less than {effect:g} either way.",
        save(differences_figure(rows, dict(looks), sweep), folder, f"differences{sweep.ending()}"),
    )
    scores = {name: [row for row in rows if row.score == name] for name in dict.fromkeys(row.score for row in rows)}
    yield from (judged_table(sweep, chosen, judged) for chosen in scores.values() if chosen[0].primary)
    yield from (secondary_table(sweep, chosen) for chosen in scores.values() if not chosen[0].primary)
    by_task = {
        str(single.only): [row for row in compare(single, axes) if row.primary] for single in _single_tasks(sweep)
    }
    if any(by_task.values()):
        yield tasks_table(sweep, by_task)
    yield Figure(
        f"improvement{sweep.ending()}",
        f"Left: probability that a run of the arm{sweep.where()} ends above a run of {sweep.reference}, with {level} "
        "intervals. Right: performance profiles, the share of runs that end above τ.",
        save(improvement_figure(rows, dict(looks), sweep), folder, f"improvement{sweep.ending()}"),
    )
