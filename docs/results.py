"""Writes the tables of docs/results.md from the rows in docs/results/: python docs/results.py

The page marks each table with the name that it has here; what stands between the marks is replaced.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from gainrl.functional.association import spearman
from gainrl.functional.statistics import Interval
from gainrl.report import style
from gainrl.report.analysis_plan import Planned, follow, keep_planned, read_plan_file
from gainrl.report.blocked import make_sweeps
from gainrl.report.blocks import number, p_value, ranged
from gainrl.report.comparisons import Comparison, measure
from gainrl.report.conclusions import compare, conclude_all
from gainrl.report.difference_tables import concluded_text
from gainrl.report.figures import new_figure
from gainrl.report.reader import Run
from gainrl.report.rows import read_rows
from gainrl.report.summaries import axes_of, mean_of
from gainrl.report.sweep import Settings, Sweep, make_sweep

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results.md"
MARKED = re.compile(r"(<!-- rows: ([\w.]+) -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)

CURRICULA = [
    "vanilla_grpo",
    "gain_rl",
    "length_order",
    "random_order",
    "easy_to_hard",
    "hard_to_easy",
    "prepo",
    "sec",
    "mopps",
    "learnability",
    "greso",
    "dapo",
    "oracle",
]
ORDERS = ["vanilla_grpo", "gain_rl", "length_order", "random_order", "residual_angle", "reversed_angle"]
# Signals that the testbed has under the name of a baseline.
SAME_RUNS = {"angle": "gain_rl", "length": "length_order", "random": "random_order", "residual": "residual_angle"}
CELLS = {
    "math_0.5b_embedded": "the testbed itself",
    "gsm8k_0.5b_embedded": "sums, mostly easy",
    "amc_0.5b_embedded": "sums, mostly hard",
    "deepscaler_1.5b_embedded": "sums, Qwen2 of width 64",
    "deepscaler_3b_embedded": "the testbed's seeds 0 to 2",
    "deepscaler_7b_embedded": "sums, Qwen2 of width 96",
    "deepcoder_3b_embedded": "small programs",
}
ABLATIONS = {
    "angle_intra": "order by C_intra alone",
    "angle_inter": "order by C_inter alone",
    "accuracy_only": "accuracy alone moves the window",
    "angle_only": "the angle alone moves the window",
    "strict_angle": "strict order, no window",
    "vanilla_grpo": "uniform draws",
}


# What is typed beside experiment=testbed, and whose rule it is.
METHODS = {
    "baseline=hardest_fraction": "the hardest tenth",
    "baseline=bots curriculum.strong=strong/signals.csv": "BOTS",
    "baseline=bots curriculum.implicit=0.0": "the same without its implicit evidence",
    "baseline=spo": "SPO, one completion a prompt",
    "baseline=vanilla_grpo allocation=knapsack data_limit=256": "knapsack allocation",
    "baseline=vanilla_grpo allocation=coba data_limit=256": "CoBA's allocation",
    "baseline=vanilla_grpo allocation=speed": "SPEED's two rounds",
    "baseline=vcrl": "VCRL",
    "baseline=goldilocks": "Goldilocks' head",
    "baseline=pcl": "PCL's head",
    "baseline=dots": "DOTS with replay of rollouts",
    "baseline=source_bandit curriculum.over=level": "SEC's rule, over levels",
    "baseline=gain_rl_knapsack": "GAIN-RL with knapsack",
    "baseline=source_bandit dataset=mixture +dataset@dataset.sources.short=arithmetic "
    "+dataset@dataset.sources.long=arithmetic 'dataset.sources.short.terms=[2,3,4]' "
    "'dataset.sources.long.terms=[5,6,7,8]'": "SEC's rule, over two sources",
}
SHORT = "baseline=source_bandit dataset=mixture ..."  # a command that is too long for the table stands above it


@cache
def runs_of(name: str) -> tuple[Run, ...]:
    return tuple(read_rows(ROOT / "docs" / "results" / f"{name}.csv"))


def runs_over_bases(name: str) -> list[Run]:
    """The runs of a sweep over bases, each with the settings of its arm."""
    return [replace(run, overrides=tuple(run.arm.split())) for run in runs_of(f"bases/{name}")]


def chosen(name: str, arm: str, *, label: str, experiment: str | None = None) -> list[Run]:
    """The runs of one arm of a file, as an arm called ``label`` of one task."""
    found = [run for run in runs_of(name) if run.arm == arm and experiment in (None, run.experiment)]
    if not found:
        raise ValueError(f"{name}.csv has no runs of {arm}")
    return [replace(run, overrides=(f"baseline={label}",), task="", experiment="") for run in found]


def arm_of_testbed(baseline: str, label: str | None = None) -> list[Run]:
    return chosen("testbed", f"baseline={baseline}", label=label or baseline)


def sweep_of(runs: Sequence[Run], reference: str) -> Sweep:
    return make_sweep(runs, Settings(reference=reference))


def primary(sweep: Sweep) -> list[Comparison]:
    return [row for row in compare(sweep, axes_of(sweep)) if row.primary]


def differences(sweep: Sweep) -> str:
    """All arms of a sweep, the reference first."""
    settings = sweep.settings
    mean = mean_of(sweep, sweep.reference, sweep.final_score)
    count = len(sweep.chosen(sweep.reference))
    lines = [
        f"| arm | runs | final | difference to `{sweep.reference}` | p (Holm) | p (margin) | conclusion |",
        "|---|---|---|---|---|---|---|",
        f"| `{sweep.reference}` | {count} | {number(mean.estimate if mean else None)} | | | | |",
    ]
    for row in primary(sweep):
        mean = mean_of(sweep, row.label, sweep.final_score)
        known = row.p_holm is not None
        strong = row.p_holm is not None and row.p_holm <= settings.alpha
        text = concluded_text(row, sweep)
        lines.append(
            f"| `{row.label}` | {row.runs[0]} | {number(mean.estimate if mean else None)} | "
            f"{ranged(row.interval, sign=True)} | {p_value(row.p_holm) if row.p_holm is not None else '–'} | "
            f"{p_value(row.p_margin) if known and row.p_margin is not None and row.label != sweep.gate else '–'} | "
            f"{f'**{text}**' if strong else text} |"
        )
    return "\n".join(lines)


def one(runs: Sequence[Run], reference: Sequence[Run]) -> str:
    """A single difference of arms with its interval, uncorrected."""
    both = [replace(run, overrides=("baseline=arm",)) for run in runs]
    both += [replace(run, overrides=("baseline=reference",)) for run in reference]
    (row,) = primary(sweep_of(both, "reference"))
    return f"{ranged(row.interval, sign=True)}"


def counted(*groups: Sequence[Run]) -> str:
    return " / ".join(dict.fromkeys(str(len(group)) for group in groups))


@dataclass(frozen=True)
class Setting:
    """Arms under one setting, in the file of a sweep and in the testbed where it holds the default."""

    label: str
    file: str
    arms: Mapping[str, str]
    experiment: str | None = None

    def runs(self, arm: str) -> list[Run]:
        return chosen(self.file, self.arms[arm], label=arm, experiment=self.experiment)


def settings_table(head: str, settings: Sequence[Setting], arms: Sequence[str], reference: str = "vanilla_grpo") -> str:
    """A row per setting: each arm less the reference under the same setting."""
    lines = [f"| {head} | runs | " + " | ".join(f"`{arm}`" for arm in arms) + " |", "|---|---|" + "---|" * len(arms)]
    for setting in settings:
        base = setting.runs(reference)
        cells = [one(setting.runs(arm), base) if arm in setting.arms else "–" for arm in arms]
        groups = [setting.runs(arm) for arm in arms if arm in setting.arms]
        lines.append(f"| {setting.label} | {counted(*groups, base)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cells() -> str:
    arms = ["gain_rl"]
    usual = {arm: f"baseline={arm}" for arm in ("vanilla_grpo", *arms)}
    settings = []
    for name, what in CELLS.items():
        if name == "math_0.5b_embedded":
            settings.append(Setting(f"{what} (`{name}`)", "testbed", usual))
        else:
            settings.append(Setting(f"{what} (`{name}`)", "cells", usual, name))
    return settings_table("what it runs, and its file", settings, arms)


def signals() -> str:
    runs = [run for label, baseline in SAME_RUNS.items() for run in arm_of_testbed(baseline, label)]
    for arm in dict.fromkeys(run.arm for run in runs_of("sweep_signals")):
        runs += chosen("sweep_signals", arm, label=arm.removeprefix("signal="))
    return differences(sweep_of(runs, "random"))


def window() -> str:
    runs = arm_of_testbed("gain_rl", "published")
    for arm in dict.fromkeys(run.arm for run in runs_of("sweep_window")):
        runs += chosen("sweep_window", arm, label=arm.removeprefix("+window="))
    return differences(sweep_of(runs, "published"))


def under(file: str, key: str, values: Sequence[str], usual: str, arms: Sequence[str]) -> list[Setting]:
    """The arms at each value of a setting, from the sweep's file and at ``usual`` from the testbed."""
    short = key.rpartition(".")[2]
    found = [Setting(f"`{short}={usual}`", "testbed", {arm: f"baseline={arm}" for arm in arms})]
    for value in values:
        known = {run.arm for run in runs_of(file)}
        typed = {arm: [f"baseline={arm} {key}={value}", f"{key}={value} baseline={arm}"] for arm in arms}
        named = {arm: next(iter(known & set(texts))) for arm, texts in typed.items() if known & set(texts)}
        found.append(Setting(f"`{short}={value}`", file, named))
    return found


def group_size() -> str:
    settings = under("sweep_group_size", "algorithm.group_size", ["2", "4", "16"], "8", ["vanilla_grpo", "gain_rl"])
    order = sorted(settings, key=lambda setting: int(setting.label.strip("`").partition("=")[2]))
    return settings_table("completions per prompt", order, ["gain_rl"])


def objectives() -> str:
    values = ["dr_grpo", "dapo", "bnpo", "gspo", "cispo", "rloo", "reinforce_pp", "gainrl_trl", "gainrl_verl"]
    settings = under("sweep_objectives", "algorithm", values, "grpo", ["vanilla_grpo", "gain_rl"])
    return settings_table("objective", settings, ["gain_rl"])


def skew() -> str:
    arms = ["gain_rl", "random_order", "oracle"]
    flat, easy, hard = under("sweep_skew", "dataset.skew", ["easy", "hard"], "flat", ["vanilla_grpo", *arms])
    return settings_table("pool", [easy, flat, hard], arms)


def adarft() -> str:
    """Runs of their own, from the base that the package ships."""
    both = ("vanilla_grpo", "adarft")
    usual = {arm: f"baseline={arm}" for arm in both}
    settings = [Setting("`testbed`", "adarft", usual, "testbed")]
    for skew in ("easy", "hard"):
        typed = {arm: f"dataset.skew={skew} baseline={arm}" for arm in both}
        settings.append(Setting(f"`testbed`, `dataset.skew={skew}`", "adarft", typed, "testbed"))
    for cell in dict.fromkeys(run.experiment for run in runs_of("adarft")):
        if cell != "testbed":
            settings.append(Setting(f"{CELLS[cell]} (`{cell}`)", "adarft", usual, cell))
    return settings_table("file", settings, ["adarft"])


def data_fraction() -> str:
    whole = {"angle": "gain_rl", "length": "length_order", "random": "random_order"}
    lines = ["| part of the pool kept | " + " | ".join(f"`{signal}`" for signal in whole) + " |", "|---|---|---|---|"]
    for kept in ("0.5", "0.25", "0.125"):
        parts = {
            signal: chosen("sweep_data_fraction", f"signal={signal} curriculum.keep_fraction={kept}", label="part")
            for signal in whole
        }
        lines.append(
            f"| {kept} | " + " | ".join(one(parts[signal], arm_of_testbed(whole[signal])) for signal in whole) + " |"
        )
    return "\n".join(lines)


def ablations() -> str:
    lines = ["| what is changed | runs | reference | difference |", "|---|---|---|---|"]

    def row(label: str, runs: list[Run], reference: str, base: list[Run]) -> None:
        lines.append(f"| {label} | {counted(runs, base)} | `{reference}` | {one(runs, base)} |")

    full, uniform = arm_of_testbed("gain_rl"), arm_of_testbed("vanilla_grpo")
    for arm, what in ABLATIONS.items():
        row(f"`{arm}`: {what}", arm_of_testbed(arm), "gain_rl", full)
    no_diagonal = chosen("sweep_angle_terms", "baseline=angle_no_diagonal", label="arm")
    row("`angle_no_diagonal`: both terms without the diagonal", no_diagonal, "gain_rl", full)
    for rule, what in {"none": "nothing moves", "released_trl": "the TRL release", "released_verl": "verl"}.items():
        changed = chosen("sweep_update_terms", f"curriculum.update={rule}", label="arm")
        row(f"`update={rule}`: {what}", changed, "gain_rl", full)
    row("`half_data_angle`: the most concentrated half", arm_of_testbed("half_data_angle"), "vanilla_grpo", uniform)
    row("`half_data_random`: a random half", arm_of_testbed("half_data_random"), "vanilla_grpo", uniform)
    row("`gain_rl_ppo`: GAIN-RL under PPO", arm_of_testbed("gain_rl_ppo"), "ppo", arm_of_testbed("ppo"))
    return "\n".join(lines)


def search() -> str:
    (arm,) = dict.fromkeys(run.arm for run in runs_of("sweep_search_best"))
    found = chosen("sweep_search_best", arm, label="found")
    seeds = {run.seed for run in found}
    published = [run for run in arm_of_testbed("gain_rl", "published") if run.seed in seeds]
    return differences(sweep_of([*found, *published], "published"))


def whole_file(name: str) -> str:
    arms = dict.fromkeys(run.arm for run in runs_of(name))
    runs = [run for arm in arms for run in chosen(name, arm, label=arm.removeprefix("baseline="))]
    return differences(sweep_of(runs, "vanilla_grpo"))


def of_testbed(arms: Sequence[str], reference: str) -> str:
    return differences(sweep_of([run for arm in arms for run in arm_of_testbed(arm)], reference))


def methods() -> str:
    """One run of each: that it runs, and what it made."""
    lines = [
        "| method | typed | held out, before and after | rollouts | of these to measure prompts |",
        "|---|---|---|---|---|",
    ]
    for typed, what in METHODS.items():
        (run,) = (run for run in runs_of("bases/methods") if set(run.arm.split()) == set(typed.split()))
        first, last = (run.columns["eval/accuracy"][place] for place in (0, -1))
        screening = float(np.nan_to_num(run.columns.get("screening_rollouts", np.zeros(1))[-1]))
        shown = typed if len(typed) < 80 else SHORT
        rollouts = f"{run.columns['rollouts'][-1]:,.0f}"
        lines.append(f"| {what} | `{shown}` | {number(first)} -> {number(last)} | {rollouts} | {screening:,.0f} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Sweeping:
    """Rows of a sweep over several bases, and how they are compared: see ``Settings``."""

    name: str
    reference: str
    within: tuple[str, ...] = ()

    def judged(self) -> tuple[list[Sweep], list[list[Comparison]]]:
        """A sweep for each value of ``within``, and its comparisons, all of one family."""
        sweeps, _ = make_sweeps(
            runs_over_bases(self.name), Settings(reference=self.reference, axis="rollouts", within=self.within)
        )
        return sweeps, conclude_all(sweeps, [measure(sweep, axes_of(sweep)) for sweep in sweeps])

    def table(self) -> str:
        """Final scores, and intervals of the differences in area under the curve over optimizer steps and rollouts."""
        sweeps, judged = self.judged()
        arms = [sweep.chosen(label) for sweep in sweeps for label in sweep.labels]
        sizes = dict.fromkeys(f"{len(own)} runs on {len({run.base for run in own})} bases" for own in arms)
        spent = len({run.columns["rollouts"][-1] for own in arms for run in own}) > 1
        heads = [" or ".join(sizes), *["rollouts"] * spent, "final", "difference", "area, steps", "area, rollouts"]
        lines = [" | ".join(["", *heads, "p (Holm)", "conclusion", ""]).strip(), "|---" * (len(heads) + 2) + "|"]
        for sweep, rows in zip(sweeps, judged, strict=True):
            lines.append(f"| {' | '.join(of_arm(sweep, sweep.reference, spent))} |{' |' * 5}")
            for row in (row for row in rows if row.primary):
                areas = {other.score: other.interval for other in rows if other.label == row.label}
                cells = [
                    *of_arm(sweep, row.label, spent),
                    ranged(row.interval, sign=True),
                    interval(areas["area over optimizer steps"]),
                    interval(areas["area over rollouts"]),
                    p_value(row.p_holm) if row.p_holm is not None else "–",
                    concluded_text(row, sweep),
                ]
                lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)


def planned(name: str) -> Planned:
    """What a plan in docs/plans concludes from the rows of its name."""
    plan, digest = read_plan_file(ROOT / "docs" / "plans" / f"{name}.yaml")
    sweep = make_sweep(runs_over_bases(name), plan.settings(Settings()))
    return follow(plan, name, digest, sweep, keep_planned(plan, sweep))


def by_plan(name: str) -> str:
    """The comparisons of a plan, its digest, and every deviation from it."""
    found = planned(name)
    lines = ["| family | comparison | runs | difference | p (Holm) | p (margin) | conclusion |", "|---" * 7 + "|"]

    def row(family: str, one: Comparison, sign: str, text: str, *, corrected: bool = True) -> None:
        tests = [p_value(value) if corrected and value is not None else "–" for value in (one.p_holm, one.p_margin)]
        ours, theirs = (label.split(", ") for label in (one.label, one.reference))
        shared = [part.partition("=")[2] for part in ours if part in theirs]
        own, other = (
            next(part.partition("=")[2] for part in side if part not in both)
            for side, both in ((ours, theirs), (theirs, ours))
        )
        pair = f"`{', '.join(shared)}`: {own} {sign} {other}"
        lines.append(
            f"| {family} | {pair} | {one.runs[0]} | {ranged(one.interval, sign=True)} | {' | '.join(tests)} | {text} |"
        )

    if found.gate is not None:
        opened = "gate open" if found.plan.opens(found.gate) else "gate shut"
        row("gate", found.gate, "<>" if found.plan.two_sided else ">", opened, corrected=False)
    for one in found.controls:
        row("null control", one, "=", "differs" if one.interval.excludes_zero() else "no difference", corrected=False)
    for family, rows in found.families.items():
        for one in rows:
            row(family, one, ">", one.conclusion or "not judged")
    deviations = " ".join(found.deviations) or "none."
    return "\n".join(
        [*lines, "", f"Plan [`{name}.yaml`](plans/{name}.yaml), SHA-256 {found.digest}. Deviations: {deviations}"]
    )


def premise() -> str:
    """Does the angle go with the gradient norm, on the whole pool of each shipped base?"""
    with open(ROOT / "docs" / "results" / "bases" / "angle_and_gradient.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [
        "| base | problems | angle and length | angle and gradient norm | the same within levels | gate |",
        "|---|---|---|---|---|---|",
    ]
    for base in dict.fromkeys(row["base"] for row in rows):
        own = [row for row in rows if row["base"] == base]
        level, length, angle, gradient = (
            np.array([float(row[name]) for row in own]) for name in ("level", "question_tokens", "angle", "grad_norm")
        )
        found = [
            spearman(angle, length, generator=np.random.default_rng(0)),
            spearman(angle, gradient, generator=np.random.default_rng(0)),
            spearman(angle, gradient, groups=level, generator=np.random.default_rng(0)),
        ]
        cells = [f"{rho.value:+.2f} [{rho.low:+.2f}, {rho.high:+.2f}]".replace("-", "−") for rho in found]
        lines.append(f"| {base} | {len(own):,} | {' | '.join(cells)} | {'open' if found[2].low > 0 else 'shut'} |")
    return "\n".join(lines)


ALLOCATION_ANGLE = Sweeping("allocation", "vanilla_grpo", ("allocation",))
LEARNED_OR_ANGLE = Sweeping("learned_or_angle", "gain_rl")
HEADS_AND_UNIFORM = Sweeping("learned_or_angle", "vanilla_grpo")
WHICH_END = Sweeping("which_end", "easiest", ("signal", "curriculum.keep_fraction"))


def of_arm(sweep: Sweep, label: str, spent: bool) -> list[str]:
    """What an arm is called (a reference with what its block shares), its rollouts a run, and its mean final score."""
    shared = [part.partition("=")[2] for part in sweep.block.split(", ") if part and label == sweep.reference]
    name = ", ".join([*shared, label.rpartition("=")[2]])
    rollouts = float(np.mean([run.columns["rollouts"][-1] for run in sweep.chosen(label)]))
    mean = mean_of(sweep, label, sweep.final_score)
    return [f"`{name}`", *[f"{rollouts:,.0f}"] * spent, number(mean.estimate if mean else None)]


def interval(given: Interval) -> str:
    return ranged(given, sign=True).partition(" ")[2]


def claims() -> str:
    """What the page's questions come to, each in the family of its own table."""
    lines = ["| claim | runs | bases | family | difference | p (Holm) | conclusion |", "|---|---|---|---|---|---|---|"]
    for claim, family, sweeps, judged, block, label in asked():
        rows = [row for found in judged for row in found if row.primary]
        place = next(index for index, sweep in enumerate(sweeps) if block in sweep.block)
        row = next(row for row in judged[place] if row.primary and row.label.rpartition("=")[2] == label)
        gates = {sweep.gate for sweep in sweeps}
        size = len([row for row in rows if row.p_holm is not None and row.label not in gates])
        corrected = p_value(row.p_holm) if row.p_holm is not None else "–"
        where = f"{family}, by itself" if row.label in gates else f"{family}, {size}"
        lines.append(
            f"| {claim} | {row.runs[0]} | {row.bases} | {where} | {ranged(row.interval, sign=True)} | "
            f"{corrected} | {concluded_text(row, sweeps[place])} |"
        )
    (row,) = planned("blocks_testbed").families["mechanism"]
    lines.append(
        f"| blocks of concentrated prompts teach more | {row.runs[0]} | {row.bases} | blocks, 1 | "
        f"{ranged(row.interval, sign=True)} | {p_value(row.p_holm) if row.p_holm is not None else '–'} | "
        f"{row.conclusion or 'not judged'} |"
    )
    return "\n".join(lines)


def asked() -> Iterator[tuple[str, str, list[Sweep], list[list[Comparison]], str, str]]:
    """Claim, table, the table's sweeps with their comparisons, and which block and arm the claim is about."""
    curricula = sweep_of([run for arm in CURRICULA for run in arm_of_testbed(arm)], "vanilla_grpo")
    length, random = (
        sweep_of([run for arm in ORDERS for run in arm_of_testbed(arm)], f"{name}_order")
        for name in ("length", "random")
    )
    equal = [run for run in runs_of("testbed_equal_length") if run.arm in {f"baseline={arm}" for arm in ORDERS}]
    one_base = [
        ("an oracle beats uniform draws: the gate", "curricula", curricula, "oracle"),
        ("GAIN-RL's order by angle beats uniform draws", "curricula", curricula, "gain_rl"),
        ("it beats the same schedule over question length", "length", length, "gain_rl"),
        ("it beats the same schedule over a random order", "random", random, "gain_rl"),
        ("with equal question lengths, it beats uniform draws", "equal", sweep_of(equal, "vanilla_grpo"), "gain_rl"),
    ]
    for claim, family, sweep, label in one_base:
        yield claim, family, [sweep], [compare(sweep, axes_of(sweep))], "", label
    several = [
        ("over bases, GAIN-RL beats uniform draws", HEADS_AND_UNIFORM, "", "gain_rl"),
        ("it does so on a pool of 256", ALLOCATION_ANGLE, "fixed", "gain_rl"),
        ("it does so where knapsack shares rollouts", ALLOCATION_ANGLE, "knapsack", "gain_rl"),
        ("a head on its states wins (PCL)", LEARNED_OR_ANGLE, "", "pcl_once"),
        ("a head on its states wins (Goldilocks)", LEARNED_OR_ANGLE, "", "goldilocks_once"),
        ("the half of low angles beats that of high ones", WHICH_END, "signal=angle, keep_fraction=0.5", "hardest"),
    ]
    for claim, sweeping, block, label in several:
        yield claim, sweeping.name, *sweeping.judged(), block, label


TABLES = {
    "claims": claims,
    "assay": lambda: of_testbed(["vanilla_grpo", "oracle", "hard_to_easy"], "vanilla_grpo"),
    "curricula": lambda: of_testbed(CURRICULA, "vanilla_grpo"),
    "angle_or_length": lambda: of_testbed(ORDERS, "length_order"),
    "angle_or_random": lambda: of_testbed(ORDERS, "random_order"),
    "equal_length": lambda: whole_file("testbed_equal_length"),
    "null": lambda: whole_file("testbed_null"),
    "cells": cells,
    "signals": signals,
    "window": window,
    "search": search,
    "group_size": group_size,
    "objectives": objectives,
    "skew": skew,
    "adarft": adarft,
    "data_fraction": data_fraction,
    "ablations": ablations,
    "methods": methods,
    "allocation": Sweeping("allocation", "fixed", ("baseline",)).table,
    "allocation_angle": ALLOCATION_ANGLE.table,
    "learned_or_angle": LEARNED_OR_ANGLE.table,
    "which_end": WHICH_END.table,
    "premise": premise,
    "blocks_testbed": lambda: by_plan("blocks_testbed"),
}


def draw(path: Path) -> None:
    """Final scores less those of uniform draws: the first round on one base, and the sweep of heads on five."""
    first = sweep_of([run for arm in CURRICULA for run in arm_of_testbed(arm)], "vanilla_grpo")
    (five,), _ = HEADS_AND_UNIFORM.judged()
    with style.figure_style():
        figure, axes = new_figure(1, 2, 3.9)
        for axis, sweep, title in zip(
            axes[0], (first, five), ("one base, ten seeds", "five bases, two seeds"), strict=True
        ):
            rows = sorted(primary(sweep), key=lambda row: -row.estimate.value)
            looks = style.looks(sweep.labels, sweep.reference)
            axis.axvline(0, color=style.MUTED, linewidth=0.8)
            for place, row in enumerate(rows):
                name, ends = row.label.rpartition("=")[2], (row.interval.low, row.interval.high)
                color = style.INK if name in ("gain_rl", "oracle") else looks[row.label].color
                axis.plot(ends, [place, place], color=color, linewidth=1.8, solid_capstyle="round")
                axis.plot([row.interval.estimate], [place], "o", color=color, markersize=5)
            names = [row.label.rpartition("=")[2] for row in rows]
            axis.set_yticks(range(len(rows)), names, fontsize=8, color=style.INK)
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.set_title(title)
            axis.set_xlabel("final accuracy less that of vanilla_grpo")
            axis.grid(axis="y", visible=False)
        figure.savefig(path, metadata={"Date": None})


def page(text: str) -> str:
    """The page with its tables made anew. Raises KeyError for a mark that names no table."""
    return MARKED.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw(ROOT / "docs" / "images" / "testbed_differences.svg")
