"""``gainrl-report``: reads runs, writes a Markdown and an HTML page, and every table as CSV and LaTeX."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gainrl.report.blocked import make_sweeps, of_task
from gainrl.report.caveats import notices
from gainrl.report.options import parser, settings_of
from gainrl.report.reader import Run, read_runs
from gainrl.report.rows import read_rows, write_rows
from gainrl.report.sweep import Settings, Sweep, make_sweep

if TYPE_CHECKING:
    from gainrl.report.analysis_plan import Planned


def cli(arguments: Sequence[str] | None = None) -> None:
    """The console script; a fault that its user can mend is one line and exit code 1."""
    made = parser()
    given = made.parse_args(arguments)
    if not given.folders and not given.wandb:
        made.error("give a folder that holds runs, such as runs/sweeps/curricula, or --wandb ENTITY/PROJECT")
    if given.watch and len(given.folders) != 1:
        made.error("--watch takes the directory of one sweep, such as runs/sweeps/curricula")
    try:
        if given.watch:
            from gainrl.report.watch import watch

            watch(given.folders[0])
            return
        answer = power(given) if given.power else export_rows(given) if given.rows else str(report(given))
    except ValueError as fault:
        sys.exit(f"Cannot report: {fault}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(answer)


def runs_of(given: argparse.Namespace) -> list[Run]:
    """The runs of all sources that were named."""
    runs = read_runs([path for path in given.folders if not path.is_file()])
    for path in given.folders:
        runs += read_rows(path) if path.is_file() else []
    if given.wandb:
        from gainrl.report.wandb_source import read_project

        runs += read_project(given.wandb)
    return runs


def power(given: argparse.Namespace) -> str:
    """How many runs an effect takes. Raises ValueError if the runs do not show their spread."""
    from gainrl.report.power import power_lines

    sweeps, _ = make_sweeps(runs_of(given), settings_of(given))
    return "\n\n".join("\n".join(power_lines(sweep, given.effect)) for sweep in sweeps)


def export_rows(given: argparse.Namespace) -> str:
    """Writes the runs as rows, and says how many."""
    lines = write_rows(runs_of(given), given.rows)
    return f"{lines} evaluations written to {given.rows}"


def report(given: argparse.Namespace) -> Path:
    """Writes everything and returns the HTML page. Raises ValueError where there is nothing to compare."""
    begun = time.perf_counter()
    settings = settings_of(given)
    runs = runs_of(given)
    out = given.out or _beside(given) / "report"
    planned = None
    if given.plan is None:
        sweeps, unscored = make_sweeps(runs, settings)
    else:
        planned = _planned(given, settings, runs)
        sweeps, unscored = [planned.sweep], []
    title = given.title or given.wandb or given.folders[0].resolve().stem
    page = write_report(sweeps, given.folders, out, title=title, known=runs, unscored=unscored, planned=planned)
    for line in _closing(sweeps, time.perf_counter() - begun):
        print(line, file=sys.stderr)
    return page


def _planned(given: argparse.Namespace, settings: Settings, runs: Sequence[Run]) -> Planned:
    from gainrl.report.analysis_plan import follow, keep_planned, read_plan_file

    plan, digest = read_plan_file(given.plan)
    defaults = parser().parse_args(["DIR"])
    decided = ("reference", "primary", "metric", "axis", "budget", "margin", "gate", "last", "alpha", "over", "pairing")
    typed = [f"--{name}" for name in decided if getattr(given, name) != getattr(defaults, name)]
    if typed or given.within:
        raise ValueError(f"{', '.join(typed or ['--within'])} and --plan: the plan decides this; leave it out")
    sweep = make_sweep(of_task(runs, settings.task) if settings.task else runs, plan.settings(settings))
    left_out = keep_planned(plan, sweep)
    return follow(plan, str(given.plan), digest, sweep, left_out)


def _beside(given: argparse.Namespace) -> Path:
    """Where a report goes by default: into its first folder, or below reports/ for a file or a project."""
    if not given.folders:
        return Path("reports") / given.wandb.replace("/", "_")
    return Path("reports") / given.folders[0].stem if given.folders[0].is_file() else given.folders[0]


def write_report(
    sweeps: Sequence[Sweep],
    folders: Sequence[Path],
    out: Path,
    *,
    title: str,
    known: Sequence[Run] = (),
    unscored: Sequence[Run] = (),
    planned: Planned | None = None,
) -> Path:
    """``report.html``, ``report.md``, ``tables/`` and ``figures/`` below ``out``; returns the page."""
    from gainrl.report.document import looks_of, write_document
    from gainrl.report.export import markdown, write_tables
    from gainrl.report.html import html

    figures, tables = out / "figures", out / "tables"
    figures.mkdir(parents=True, exist_ok=True)
    tables.mkdir(parents=True, exist_ok=True)
    document = write_document(sweeps, folders, figures, title=title, known=known, unscored=unscored, planned=planned)
    write_tables(document, tables)
    (out / "report.md").write_text(markdown(document, out))
    page = out / "report.html"
    page.write_text(html(document, looks_of(sweeps)))
    return page


def _closing(sweeps: Sequence[Sweep], seconds: float) -> list[str]:
    runs = [run for sweep in sweeps for run in sweep.all_runs()]
    arms = sum(len(sweep.arms) for sweep in sweeps)
    finished = sum(run.finished for run in runs)
    lines = dict.fromkeys(text for sweep in sweeps for text in notices(sweep))
    return [*lines, f"{len(runs)} runs of {arms} arms, {finished} finished; written in {seconds:.1f} s"]


if __name__ == "__main__":
    cli()
