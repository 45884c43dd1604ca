"""What a reader must know before believing the tables: budgets, seeds or evaluation sets that differ, too few pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.functional.paired import fewest_pairs, smallest_p
from gainrl.report.comparisons import unscored
from gainrl.report.reader import Run
from gainrl.report.sweep import Sweep


def warnings(sweeps: Sequence[Sweep], axes: Sequence[tuple[str, ...]]) -> list[str]:
    """One sentence each, the gravest first; those of some blocks only begin with the names of these."""
    blocks: dict[str, list[str]] = {}
    for sweep, own in zip(sweeps, axes, strict=True):
        for text in _of_sweep(sweep, own):
            blocks.setdefault(text, []).append(sweep.block)
    found = [
        text
        if len(names) == len(sweeps)
        else f"{_some(names)}: {text[0].lower() if text[1:2].islower() else text[0]}{text[1:]}"
        for text, names in blocks.items()
    ]
    return found + _power(sweeps)


def notices(sweep: Sweep) -> list[str]:
    """What the reader should type to be sure of the comparison that was meant: these are printed as well."""
    found = []
    if sweep.guessed and len(sweep.arms) > 1:
        found.append(
            f"Nobody named the reference arm: {sweep.reference} was taken ({sweep.guessed}). Name it with "
            f"--reference ARM, one of {_some(sorted(sweep.labels))}; where two settings vary, --within KEY compares "
            "within each value of one."
        )
    if len(sweep.arms) == 1 and len(sweep.tasks) > 1:
        found.append(
            "Nothing but the experiment differs between these runs, and runs of different experiments are not "
            "compared. Where the experiments are the arms, add --arms experiment."
        )
    return found


def _of_sweep(sweep: Sweep, axes: tuple[str, ...]) -> list[str]:
    found = []
    if sweep.partial:
        found.append(
            "Unfinished runs are compared, up to the budget that all of them have reached: all of this is provisional."
        )
    found += notices(sweep)
    for task in sweep.tasks:
        name = f" in {task}" if len(sweep.tasks) > 1 else ""
        found += _different(
            sweep, task, evaluation_set, f"The evaluation sets differ between arms{name}: scores are not comparable. "
        )
        found += _different(sweep, task, planned_budget, f"The planned budgets differ between arms{name}. ")
        found += _spent(sweep, task, name)
        found += _screened(sweep, task, name)
        found += _seeds(sweep, task, name)
        found += _starts(sweep, task, name)
    for arm in sweep.arms:
        found += _mixed_settings(arm.label, arm.runs)
    found += unscored(sweep, axes)
    if sweep.repeated:
        found.append(
            f"{len(sweep.repeated)} runs repeat an arm and seed and are left out: "
            + _some(run.source for run in sweep.repeated)
        )
    return found


def evaluation_set(run: Run) -> str:
    """What decides which held-out problems are scored, and how."""
    config = run.config
    evaluation = {name: value for name, value in (config.get("evaluation") or {}).items() if name != "every"}
    dataset = {
        name: value for name, value in (config.get("dataset") or {}).items() if not str(name).startswith("train")
    }
    rollout = {name: (config.get("rollout") or {}).get(name) for name in ("max_new_tokens", "top_p")}
    judged = {name: value for name, value in (config.get("reward") or {}).items() if name != "workers"}
    parts = (evaluation, dataset, rollout, judged, config.get("eval"), config.get("template"))
    return json.dumps(parts, sort_keys=True, default=str) if config else ""


def planned_budget(run: Run) -> str:
    config = run.config
    schedule, algorithm = config.get("schedule") or {}, config.get("algorithm") or {}
    steps, prompts, group = schedule.get("steps"), schedule.get("prompts_per_step"), algorithm.get("group_size")
    return f"{steps} steps of {prompts} prompts with {group} completions" if steps else ""


def _different(sweep: Sweep, task: str, describe: Any, opening: str) -> list[str]:
    groups: dict[str, list[str]] = {}
    for label in sweep.labels:
        for run in sweep.chosen(label, task):
            text = describe(run)
            if text and label not in groups.setdefault(text, []):
                groups[text].append(label)
    if len(groups) < 2:
        return []
    if describe is planned_budget:
        return [opening + "; ".join(f"{text}: {_some(labels)}" for text, labels in groups.items())]
    return [opening + "; ".join(f"set {index}: {_some(labels)}" for index, labels in enumerate(groups.values(), 1))]


def _spent(sweep: Sweep, task: str, name: str) -> list[str]:
    spent = {
        label: float(np.median([run.columns["generated_tokens"][-1] for run in runs]))
        for label in sweep.labels
        if (runs := [run for run in sweep.chosen(label, task) if len(run.columns.get("generated_tokens", ()))])
    }
    if len(spent) < 2 or min(spent.values()) <= 0 or max(spent.values()) / min(spent.values()) <= 1.1:
        return []
    least, most = min(spent, key=spent.__getitem__), max(spent, key=spent.__getitem__)
    return [
        f"Arms generated different numbers of tokens{name}, from {spent[least]:,.0f} ({least}) to {spent[most]:,.0f} "
        f"({most}): final scores compare equal steps, areas over generated tokens compare equal tokens."
    ]


def _screened(sweep: Sweep, task: str, name: str) -> list[str]:
    shares = {}
    for label in sweep.labels:
        runs = [run for run in sweep.chosen(label, task) if "screening_rollouts" in run.columns]
        if runs:
            spent = [run.columns["screening_rollouts"][-1] / max(run.columns["rollouts"][-1], 1.0) for run in runs]
            shares[label] = float(np.median(spent))
    return [
        f"{share:.0%} of the rollouts of {label}{name} only screened candidates: they count in rollouts and wall time, "
        "not in prompts, steps or generated tokens."
        for label, share in shares.items()
    ]


def _seeds(sweep: Sweep, task: str, name: str) -> list[str]:
    have = {label: {run.seed for run in sweep.chosen(label, task)} for label in sweep.labels}
    union = set().union(*have.values())
    short = {label: sorted(union - seeds) for label, seeds in have.items() if union - seeds}
    if not short:
        return []
    lines = [f"{label} lacks {', '.join(map(str, seeds))}" for label, seeds in list(short.items())[:8]]
    more = f" and {len(short) - 8} more arms" if len(short) > 8 else ""
    return [f"Seeds differ between arms{name}; only pairs are compared: " + "; ".join(lines) + more + "."]


def _starts(sweep: Sweep, task: str, name: str) -> list[str]:
    uneven = {
        label
        for label in sweep.others
        for run, reference in sweep.pairs(label, task)
        if abs(sweep.first_score(run) - sweep.first_score(reference)) > 1e-9
    }
    if not uneven:
        return []
    return [
        f"Pairs do not start from the same score{name} ({_some(sorted(uneven))}): their base models or held-out "
        "problems differ."
    ]


def _mixed_settings(label: str, runs: list[Run]) -> list[str]:
    first: dict[str, tuple[Run, dict[str, Any]]] = {}
    names: set[str] = set()
    for run in runs:
        leaves = {k: v for k, v in _leaves(run.config) if k != "seed" and run.decides_numbers(k)}
        if not leaves:
            continue
        other, known = first.setdefault(run.task, (run, leaves))
        seeds = (other.seed, run.seed)
        pairs = {k: (known.get(k), leaves.get(k)) for k in {*leaves, *known}}
        # A seed that follows the run's own differs with it and is no other setting.
        names |= {k for k, pair in pairs.items() if pair[0] != pair[1] and not (k.endswith(".seed") and pair == seeds)}
    return [f"The runs of {label} differ in more than the seed: {_some(sorted(names))}."] if names else []


def _power(sweeps: Sequence[Sweep]) -> list[str]:
    pairs = [sum(len(sweep.pairs(label, task)) for task in sweep.tasks) for sweep in sweeps for label in sweep.others]
    alpha = sweeps[0].settings.alpha
    if not pairs or smallest_p(max(pairs)) * len(pairs) <= alpha:
        return []
    noun = "pairs" if max(pairs) > 1 else "pair"
    over = f"{len(pairs)} comparisons" if len(pairs) > 1 else "one comparison"
    return [
        f"With {max(pairs)} {noun} the sign-flip test cannot go below p = {smallest_p(max(pairs)):.2g}, so no arm can "
        f"be supported at {alpha:g} after correction for {over}; it takes {fewest_pairs(len(pairs), alpha)} pairs."
    ]


def _leaves(node: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def _some(names: Iterable[str], most: int = 8) -> str:
    listed = [f"“{name}”" if "," in name else name for name in names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
