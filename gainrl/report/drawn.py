"""The drawn parts of the report: learning curves and diagnostics, of one sweep each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gainrl.report.blocks import Block, Figure
from gainrl.report.diagnostics import levels_figure, paths_figure
from gainrl.report.figures import LONGEST, MOST_BANDS, MOST_PANELS, arm_panels, curves_figure, save
from gainrl.report.reader import AXES
from gainrl.report.series import score_curves
from gainrl.report.style import Look
from gainrl.report.summaries import axes_of
from gainrl.report.sweep import Sweep
from gainrl.report.tables import diagnostics_table

_CURVE_AXES = ("prompts_seen", "generated_tokens", "updates", "wall_seconds")


def curve_blocks(sweep: Sweep, looks: Mapping[str, Look], folder: Path) -> Iterator[Figure]:
    """Two figures per task: curves over every budget, and a panel per arm."""
    level = f"{sweep.settings.level:.0%}"
    ylabel = score_words(sweep)
    for task in sweep.tasks:
        recorded = axes_of(sweep)
        budgets = [axis for axis in _CURVE_AXES if axis in recorded]
        budgets += ["rollouts"] if "rollouts" in recorded and sweep.pays_extra_rollouts() else []
        curves = {axis: score_curves(sweep, axis, task) for axis in budgets or ["step"]}
        if not any(curves.values()):
            continue
        most = max(map(len, curves.values()))
        where, ending = sweep.where(task), sweep.ending(task)
        figure = curves_figure(curves, sweep.reference, dict(looks), ylabel)
        yield Figure(
            f"curves{ending}",
            f"{ylabel}{where} against {_listed([AXES.get(axis, 'steps') for axis in curves if curves[axis]])}: "
            f"mean over runs{f', {level} bands' if most <= MOST_BANDS else ''}. An arm's curve "
            f"ends with the first of its runs, or at {LONGEST:g} times the budget of {sweep.reference}.",
            save(figure, folder, f"curves{ending}"),
        )
        axis = sweep.settings.axis if sweep.settings.axis in recorded else "step"
        main = curves.get(axis) or score_curves(sweep, axis, task)
        figure = arm_panels(main, sweep.reference, dict(looks), axis, ylabel)
        yield Figure(
            f"arm_panels{ending}",
            f"Each arm{where} with its runs (thin), mean and {level} band, over the reference "
            f"{sweep.reference} (black), against {AXES.get(axis, 'steps')}." + _left_out(sweep),
            save(figure, folder, f"arm_panels{ending}"),
        )


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def diagnostic_blocks(sweep: Sweep, looks: Mapping[str, Look], folder: Path) -> Iterator[Block]:
    """A table of shares, and figures per task."""
    yield diagnostics_table(sweep)
    for task in sweep.tasks:
        where, ending = sweep.where(task), sweep.ending(task)
        paths = paths_figure(sweep, task, dict(looks))
        if paths is not None:
            figure, absent = paths
            note = f" Not recorded by these runs: {', '.join(absent)}." if absent else ""
            yield Figure(
                f"paths{ending}",
                f"Against prompts seen{where}: share of groups with right and wrong completions (running mean), "
                "distinct prompts (dotted: every prompt new), and the centre of the window over the ranked pool."
                + note,
                save(figure, folder, f"paths{ending}"),
            )
        levels = levels_figure(sweep, task, dict(looks))
        if levels is not None:
            yield Figure(
                f"levels{ending}",
                f"Share of the prompts{where} from each level or family over the run, mean over seeds."
                + _left_out(sweep),
                save(levels, folder, f"levels{ending}"),
            )


def _left_out(sweep: Sweep) -> str:
    if len(sweep.others) <= MOST_PANELS:
        return ""
    half = MOST_PANELS // 2
    return f" Of {len(sweep.others)} arms, the {half} with the highest and the {half} with the lowest final score."


def score_words(sweep: Sweep) -> str:
    known = {"eval/accuracy": "Held-out accuracy"}
    return known.get(sweep.settings.metric, sweep.settings.metric)
