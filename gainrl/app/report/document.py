"""The report in its five parts: curves, arms, paired differences, diagnostics, open jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import gainrl.app.report.style as style
from gainrl.app.report.blocks import Bullets, Document, Figure, Heading, Paragraph
from gainrl.app.report.checks import warnings
from gainrl.app.report.comparisons import Comparison, compare, sentence
from gainrl.app.report.diagnostics import levels_figure, paths_figure
from gainrl.app.report.figures import (
    LONGEST,
    MOST_PANELS,
    arm_panels,
    curves_figure,
    differences_figure,
    improvement_figure,
    save,
)
from gainrl.app.report.jobs import open_jobs
from gainrl.app.report.reader import AXES
from gainrl.app.report.series import score_curves
from gainrl.app.report.style import Look
from gainrl.app.report.summaries import axes_of, budgets_to_targets, summarise
from gainrl.app.report.sweep import Sweep
from gainrl.app.report.tables import (
    arms_table,
    diagnostics_table,
    differences_table,
    jobs_table,
    targets_table,
    verdict_badge,
)

_CURVE_AXES = ("prompts_seen", "generated_tokens", "updates", "wall_seconds")


def write_document(sweep: Sweep, folders: Sequence[Path], figures: Path, *, title: str) -> Document:
    """Computes everything and draws the figures into a folder."""
    looks = style.looks(sweep.labels, sweep.reference)
    document = Document(title, _subtitle(sweep))
    axes = axes_of(sweep)
    comparisons = compare(sweep, axes)
    with style.figure_style():
        _opening(document, sweep, comparisons)
        _curves(document, sweep, looks, figures)
        _arms(document, sweep, axes)
        _differences(document, sweep, comparisons, looks, figures)
        _diagnostics(document, sweep, looks, figures)
    _jobs(document, sweep, folders)
    _methods(document, sweep)
    return document


def _subtitle(sweep: Sweep) -> str:
    runs = sweep.all_runs()
    compared = sum(len(sweep.chosen(label)) for label in sweep.labels)
    seeds = {run.seed for run in runs}
    tasks = f" on {len(sweep.tasks)} tasks" if len(sweep.tasks) > 1 else ""
    return (
        f"{_count(len(sweep.arms), 'arm')}, {_count(len(seeds), 'seed')}{tasks}; {compared} of "
        f"{_count(len(runs), 'run')} compared; reference {sweep.reference}; smallest effect of interest "
        f"{sweep.settings.smallest_effect:g} in {sweep.settings.metric}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _opening(document: Document, sweep: Sweep, comparisons: Sequence[Comparison]) -> None:
    found = warnings(sweep)
    if found:
        document.blocks.append(Bullets("Read this first", found, "warning"))
    finals = [row for row in comparisons if row.score == "final score"]
    if finals:
        document.blocks.append(
            Bullets(
                f"Final score, paired difference to {sweep.reference}",
                [sentence(row, sweep, [other for other in comparisons if other.label == row.label]) for row in finals],
                "finding",
                [verdict_badge(row) for row in finals],
            )
        )


def _curves(document: Document, sweep: Sweep, looks: Mapping[str, Look], folder: Path) -> None:
    document.blocks.append(Heading("Learning curves"))
    level = f"{sweep.settings.level:.0%}"
    ylabel = _score_words(sweep)
    for task in sweep.tasks:
        budgets = (*_CURVE_AXES, *(("rollouts",) if sweep.pays_extra_rollouts() else ()))
        curves = {axis: score_curves(sweep, axis, task) for axis in budgets}
        if not any(curves.values()):
            continue
        where, ending = _of_task(sweep, task)
        figure = curves_figure(curves, sweep.reference, dict(looks), ylabel)
        document.blocks.append(
            Figure(
                f"curves{ending}",
                f"{ylabel}{where} against {_listed([AXES[axis] for axis in curves if curves[axis]])}: interquartile "
                f"mean over seeds{f', {level} bootstrap bands' if len(curves['prompts_seen']) <= 5 else ''}. An arm's "
                f"curve ends with the first of its runs, or at {LONGEST:g} times the budget of {sweep.reference}.",
                save(figure, folder, f"curves{ending}"),
            )
        )
        main = curves.get(sweep.settings.axis) or score_curves(sweep, sweep.settings.axis, task)
        figure = arm_panels(main, sweep.reference, dict(looks), sweep.settings.axis, ylabel)
        document.blocks.append(
            Figure(
                f"arm_panels{ending}",
                f"Each arm{where} with its runs (thin), interquartile mean and {level} band, over the reference "
                f"{sweep.reference} (black), against {AXES.get(sweep.settings.axis, sweep.settings.axis)}."
                + _left_out(sweep),
                save(figure, folder, f"arm_panels{ending}"),
            )
        )


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _of_task(sweep: Sweep, task: str) -> tuple[str, str]:
    if len(sweep.tasks) < 2:
        return "", ""
    name = task or "no experiment"
    return f" in {name}", "_" + "".join(character if character.isalnum() else "_" for character in name)


def _left_out(sweep: Sweep) -> str:
    if len(sweep.others) <= MOST_PANELS:
        return ""
    half = MOST_PANELS // 2
    return f" Of {len(sweep.others)} arms, the {half} with the highest and the {half} with the lowest final score."


def _score_words(sweep: Sweep) -> str:
    known = {"eval/accuracy": "Held-out accuracy"}
    return known.get(sweep.settings.metric, sweep.settings.metric)


def _arms(document: Document, sweep: Sweep, axes: tuple[str, ...]) -> None:
    document.blocks.append(Heading("Arms"))
    document.blocks.append(arms_table(sweep, summarise(sweep)))
    targets = budgets_to_targets(sweep, axes)
    document.blocks.append(targets_table(sweep, targets, axes[:1], "budget_to_target", with_ends=True))
    others = tuple(axis for axis in axes[1:] if axis != "rollouts" or sweep.pays_extra_rollouts())
    if others:
        document.blocks.append(targets_table(sweep, targets, others, "budget_to_target_other_axes", with_ends=False))


def _differences(
    document: Document, sweep: Sweep, rows: Sequence[Comparison], looks: Mapping[str, Look], folder: Path
) -> None:
    document.blocks.append(Heading("Paired differences"))
    if not rows:
        document.blocks.append(Paragraph(f"No other arm shares a seed with {sweep.reference}."))
        return
    effect, level = sweep.settings.smallest_effect, f"{sweep.settings.level:.0%}"
    document.blocks.append(
        Figure(
            "differences",
            f"Mean paired differences to {sweep.reference} with {level} bootstrap intervals; ticks are single pairs, "
            f"filled points exclude zero (uncorrected), the grey stripe is less than {effect:g} either way.",
            save(differences_figure(rows, dict(looks), sweep), folder, "differences"),
        )
    )
    for index, score in enumerate(dict.fromkeys(row.score for row in rows)):
        document.blocks.append(differences_table(sweep, rows, score, in_full=index == 0))
    document.blocks.append(
        Figure(
            "improvement",
            f"Left: probability that a run of the arm ends above a run of {sweep.reference}, with {level} intervals. "
            "Right: performance profiles, the share of runs that end above τ.",
            save(improvement_figure(rows, dict(looks), sweep), folder, "improvement"),
        )
    )


def _diagnostics(document: Document, sweep: Sweep, looks: Mapping[str, Look], folder: Path) -> None:
    document.blocks.append(Heading("Diagnostics"))
    document.blocks.append(diagnostics_table(sweep))
    for task in sweep.tasks:
        where, ending = _of_task(sweep, task)
        paths = paths_figure(sweep, task, dict(looks))
        if paths is not None:
            figure, absent = paths
            note = f" Not recorded by these runs: {', '.join(absent)}." if absent else ""
            document.blocks.append(
                Figure(
                    f"paths{ending}",
                    f"Against prompts seen{where}: share of groups with right and wrong completions (running mean), "
                    "distinct prompts (dotted: every prompt new), and the centre of the window over the ranked pool."
                    + note,
                    save(figure, folder, f"paths{ending}"),
                )
            )
        levels = levels_figure(sweep, task, dict(looks))
        if levels is not None:
            document.blocks.append(
                Figure(
                    f"levels{ending}",
                    f"Share of the prompts{where} from each level over the run, mean over seeds." + _left_out(sweep),
                    save(levels, folder, f"levels{ending}"),
                )
            )


def _jobs(document: Document, sweep: Sweep, folders: Sequence[Path]) -> None:
    document.blocks.append(Heading("Missing and failed jobs"))
    jobs = open_jobs(sweep, folders)
    if jobs:
        document.blocks.append(jobs_table(jobs))
    else:
        document.blocks.append(Paragraph("None: every job has a finished run."))


def _methods(document: Document, sweep: Sweep) -> None:
    settings = sweep.settings
    document.blocks.append(Heading("How the numbers are made"))
    document.blocks.append(
        Paragraph(
            "Interquartile mean, stratified bootstrap, probability of improvement and performance profile follow "
            "Agarwal et al. 2021 (arXiv 2108.13264); runs are resampled within their task. The final score of a run is "
            f"the mean of its last evaluations: up to {settings.last}, at most a quarter of those after the first; no "
            "best checkpoint is picked. The area is the mean score between zero and the budget that all compared runs "
            "have. Pairs share a seed; intervals of paired differences are bootstrap percentiles widened for few pairs "
            "(Hesterberg 2015, arXiv 1411.5279); p-values come from the sign patterns of the differences, corrected by "
            "Holm's method over the arms of a table. An improvement is supported if its interval lies above zero and "
            f"its corrected p is at most {settings.alpha:g}; ruled out if the interval ends below the smallest effect "
            f"({settings.smallest_effect:g}); inconclusive otherwise. Pairs needed are by the normal approximation. "
            f"{settings.draws:,} resamples, seed {settings.seed}."
        )
    )
    versions = sorted(
        {
            f"commit {str(run.record['git_commit'])[:12]}"
            + ("+changes" if "+" in str(run.record["git_commit"]) else "")
            for run in sweep.all_runs()
            if run.record.get("git_commit")
        }
    )
    if versions:
        document.blocks.append(Paragraph("Runs made with " + ", ".join(versions) + "."))
