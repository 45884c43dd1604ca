"""``gainrl-report``: reads runs, writes a Markdown and an HTML page, and every table as CSV and LaTeX."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gainrl.report.blocked import make_sweeps
from gainrl.report.checks import notices
from gainrl.report.reader import AXES, Run, read_runs
from gainrl.report.sweep import Settings, Sweep

_EXAMPLES = """
examples
  gainrl-report runs/sweeps/curricula
  gainrl-report runs/sweeps/signals --reference random --smallest-effect 0.02
  gainrl-report runs/sweeps/skew --within dataset.skew --axis updates --target-of gain --out reports/skew
  gainrl-report runs/sweeps/ablations --arms experiment --reference ablation_full
  gainrl-report runs/sweeps/seeds --partial            while the sweep is still running
  gainrl-report --watch runs/sweeps/seeds              how far it is, in one line, until it is over
  gainrl-report --wandb my-team/gainrl                 from a W&B project instead of directories
"""


def parser() -> argparse.ArgumentParser:
    defaults = Settings()
    made = argparse.ArgumentParser(
        prog="gainrl-report",
        description="From finished, running and failed runs to a page with learning curves, a table of arms, paired "
        "differences with intervals and verdicts, diagnostics, and the jobs that are missing. Needs no GPU.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("folders", nargs="*", type=Path, metavar="DIR", help="folders that hold runs, at any depth")
    made.add_argument("--wandb", metavar="ENTITY/PROJECT", help="read a W&B project (also besides folders)")
    made.add_argument("--watch", action="store_true", help="no page: one line on how far the sweep in DIR is, kept up")
    made.add_argument("--out", type=Path, help="where to write (default: report/ in the first DIR)")
    made.add_argument("--title", help="heading of the page (default: name of the first DIR)")
    compared = made.add_argument_group("what is compared")
    compared.add_argument(
        "--reference", metavar="ARM", help="arm that the others are compared with (default: vanilla_grpo or uniform)"
    )
    compared.add_argument(
        "--within",
        action="append",
        default=[],
        metavar="KEY",
        help="repeat the comparison within each value of a setting, such as algorithm.group_size: never pooled over "
        "values (repeatable)",
    )
    compared.add_argument("--task", metavar="NAME", help="only the runs of this experiment")
    compared.add_argument(
        "--arms",
        choices=("settings", "experiment"),
        default=defaults.arms,
        help="what makes an arm: settings within one experiment, or also the experiment itself (default: %(default)s)",
    )
    compared.add_argument(
        "--primary",
        choices=("final", "area"),
        default=defaults.primary,
        help="score that is judged: the final score, or the area under the curve over --axis; the others are shown "
        "without verdicts (default: %(default)s)",
    )
    compared.add_argument("--metric", default=defaults.metric, help="score (default: %(default)s)")
    compared.add_argument(
        "--axis", default=defaults.axis, choices=list(AXES), help="main budget (default: %(default)s)"
    )
    compared.add_argument(
        "--smallest-effect",
        type=float,
        default=defaults.smallest_effect,
        metavar="X",
        help="smallest improvement that would matter, in units of the score; choose it before looking "
        "(default: %(default)s)",
    )
    compared.add_argument(
        "--targets",
        type=float,
        nargs="+",
        default=list(defaults.targets),
        metavar="SHARE",
        help="shares of the reference's final score to be reached (default: 0.6 0.8 0.95)",
    )
    compared.add_argument(
        "--target-of",
        choices=("level", "gain"),
        default=defaults.target_of,
        help="a target is a share of the final level, or of the gain since the start (default: %(default)s)",
    )
    compared.add_argument(
        "--last",
        type=int,
        default=defaults.last,
        metavar="N",
        help="a final score is the mean of the last N evaluations (default: %(default)s)",
    )
    compared.add_argument("--partial", action="store_true", help="compare unfinished runs too, up to a common budget")
    numbers = made.add_argument_group("statistics")
    numbers.add_argument("--alpha", type=float, default=defaults.alpha, help="(default: %(default)s)")
    numbers.add_argument("--draws", type=int, default=defaults.draws, help="bootstrap resamples (default: %(default)s)")
    numbers.add_argument("--seed", type=int, default=defaults.seed, help="of the resamples (default: %(default)s)")
    return made


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
        page = report(given)
    except ValueError as fault:
        sys.exit(f"Cannot report: {fault}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(page)


def report(given: argparse.Namespace) -> Path:
    """Writes everything and returns the HTML page. Raises ValueError where there is nothing to compare."""
    begun = time.perf_counter()
    settings = Settings(
        reference=given.reference,
        metric=given.metric,
        axis=given.axis,
        smallest_effect=given.smallest_effect,
        targets=tuple(sorted(given.targets)),
        target_of=given.target_of,
        last=given.last,
        alpha=given.alpha,
        draws=given.draws,
        seed=given.seed,
        partial=given.partial,
        primary=given.primary,
        task=given.task,
        within=tuple(dict.fromkeys(given.within)),
        arms=given.arms,
    )
    runs: list[Run] = read_runs(given.folders)
    if given.wandb:
        from gainrl.report.wandb_source import read_project

        runs += read_project(given.wandb)
    out = (
        given.out or (given.folders[0] if given.folders else Path("reports") / given.wandb.replace("/", "_")) / "report"
    )
    sweeps, unscored = make_sweeps(runs, settings)
    title = given.title or given.wandb or given.folders[0].resolve().name
    page = write_report(sweeps, given.folders, out, title=title, known=runs, unscored=unscored)
    for line in _closing(sweeps, time.perf_counter() - begun):
        print(line, file=sys.stderr)
    return page


def write_report(
    sweeps: Sequence[Sweep],
    folders: Sequence[Path],
    out: Path,
    *,
    title: str,
    known: Sequence[Run] = (),
    unscored: Sequence[Run] = (),
) -> Path:
    """``report.html``, ``report.md``, ``tables/`` and ``figures/`` below ``out``; returns the page."""
    from gainrl.report.document import looks_of, write_document
    from gainrl.report.export import markdown, write_tables
    from gainrl.report.html import html

    figures, tables = out / "figures", out / "tables"
    figures.mkdir(parents=True, exist_ok=True)
    tables.mkdir(parents=True, exist_ok=True)
    document = write_document(sweeps, folders, figures, title=title, known=known, unscored=unscored)
    write_tables(document, tables)
    (out / "report.md").write_text(markdown(document, out))
    page = out / "report.html"
    page.write_text(html(document, looks_of(sweeps)))
    return page


def _closing(sweeps: Sequence[Sweep], seconds: float) -> list[str]:
    runs = [run for sweep in sweeps for run in sweep.all_runs()]
    arms = sum(len(sweep.arms) for sweep in sweeps)
    finished = sum(run.finished for run in runs)
    told = dict.fromkeys(text for sweep in sweeps for text in notices(sweep))
    return [*told, f"{len(runs)} runs of {arms} arms, {finished} finished; written in {seconds:.1f} s"]


if __name__ == "__main__":
    cli()
