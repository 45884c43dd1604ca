"""The options of ``gainrl-report``, and the settings that they make."""

from __future__ import annotations

import argparse
from pathlib import Path

from gainrl.report.reader import AXES
from gainrl.report.sweep import Settings

_EXAMPLES = """
examples
  gainrl-report runs/sweeps/curricula
  gainrl-report runs/sweeps/signals --reference random --margin 0.02
  gainrl-report runs/sweeps/skew --within dataset.skew --axis updates --target-of gain --out reports/skew
  gainrl-report runs/sweeps/ablations --arms experiment --reference ablation_full
  gainrl-report runs/sweeps/seeds --partial            while the sweep is still running
  gainrl-report --watch runs/sweeps/seeds              how far it is, in one line, until it is over
  gainrl-report runs/sweeps/angle --plan analysis_plan.yaml
  gainrl-report runs/sweeps/pilot --power --effect 0.01
  gainrl-report runs/sweeps/angle --rows docs/results/angle.csv    and again, from the rows alone:
  gainrl-report docs/results/angle.csv --out reports/angle
  gainrl-report --wandb my-team/gainrl                 from a W&B project instead of directories
"""


def parser() -> argparse.ArgumentParser:
    defaults = Settings()
    made = argparse.ArgumentParser(
        prog="gainrl-report",
        description="From finished, running and failed runs to a page with learning curves, a table of arms, "
        "differences with intervals and conclusions, diagnostics, and the jobs that are missing. Needs no GPU.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="DIR",
        help="folders that hold runs, at any depth, or CSV files of --rows",
    )
    made.add_argument("--wandb", metavar="ENTITY/PROJECT", help="read a W&B project (also besides folders)")
    made.add_argument("--watch", action="store_true", help="no page: one line on how far the sweep in DIR is, kept up")
    made.add_argument(
        "--power", action="store_true", help="no page: the runs that an effect takes, from the spread of these"
    )
    made.add_argument("--rows", type=Path, metavar="FILE", help="no page: writes the runs into one CSV file")
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
        "--plan",
        type=Path,
        metavar="FILE",
        help="analysis_plan.yaml, written before the runs: it decides what is compared, and only what it names is "
        "concluded on",
    )
    compared.add_argument(
        "--primary",
        choices=("final", "area"),
        default=defaults.primary,
        help="score that is judged: the final score, or the area under the curve over --axis; the others are shown "
        "without conclusions (default: %(default)s)",
    )
    compared.add_argument("--metric", default=defaults.metric, help="score (default: %(default)s)")
    compared.add_argument(
        "--axis", default=defaults.axis, choices=list(AXES), help="main budget (default: %(default)s)"
    )
    compared.add_argument(
        "--margin",
        default=f"{defaults.margin:g}",
        metavar="X",
        help="smallest improvement that would matter, in units of the score or as a share of the gate's gain, such as "
        "50%%; choose it before looking (default: %(default)s)",
    )
    compared.add_argument(
        "--gate",
        metavar="ARM",
        help="positive control: nothing is concluded unless it beats the reference (default: oracle, if it is there)",
    )
    compared.add_argument(
        "--effect",
        type=float,
        nargs="+",
        default=[],
        metavar="X",
        help="with --power: effects in units of the score (default: shares of the spread)",
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
    compared.add_argument(
        "--budget", type=float, metavar="X", help="where areas over --axis end (default: what the reference spends)"
    )
    compared.add_argument("--partial", action="store_true", help="compare unfinished runs too, up to a common budget")
    numbers = made.add_argument_group("statistics")
    numbers.add_argument("--alpha", type=float, default=defaults.alpha, help="(default: %(default)s)")
    numbers.add_argument(
        "--over",
        choices=("bases", "seeds"),
        default=defaults.over,
        help="what intervals are taken over: bases, or seeds on the bases as they are (default: %(default)s)",
    )
    numbers.add_argument(
        "--pairing",
        choices=("auto", "paired", "unpaired"),
        default=defaults.pairing,
        help="pair runs of one seed; auto does where arms correlate by more than .3 (default: %(default)s)",
    )
    numbers.add_argument(
        "--seed", type=int, default=defaults.seed, help="of the intervals of budget ratios (default: %(default)s)"
    )
    return made


def settings_of(given: argparse.Namespace) -> Settings:
    margin, share = str(given.margin), None
    try:
        share = float(margin[:-1]) / 100 if margin.endswith("%") else None
        number = Settings().margin if share is not None else float(margin)
    except ValueError:
        raise ValueError(f"--margin={margin} is not a number; type --margin 0.01, or --margin 50%") from None
    return Settings(
        reference=given.reference,
        metric=given.metric,
        axis=given.axis,
        margin=number,
        margin_share=share,
        gate=given.gate,
        targets=tuple(sorted(given.targets)),
        target_of=given.target_of,
        last=given.last,
        alpha=given.alpha,
        seed=given.seed,
        partial=given.partial,
        primary=given.primary,
        budget=given.budget,
        task=given.task,
        within=tuple(dict.fromkeys(given.within)),
        arms=given.arms,
        over=given.over,
        pairing=given.pairing,
    )
