"""What a reader must know before believing the tables: budgets, seeds or evaluation sets that differ, too few pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gainrl.app.report.reader import Run
from gainrl.app.report.sweep import Sweep
from gainrl.functional.paired import fewest_pairs, smallest_p


def warnings(sweep: Sweep) -> list[str]:
    """One sentence each, the gravest first."""
    found = []
    if sweep.partial:
        found.append(
            "Unfinished runs are compared, up to the budget that all of them have reached: all of this is provisional."
        )
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
    found += _power(sweep)
    if sweep.repeated:
        found.append(
            f"{len(sweep.repeated)} runs repeat an arm and seed and are left out: "
            + _some(run.source for run in sweep.repeated)
        )
    return found


def evaluation_set(run: Run) -> str:
    """What decides which held-out problems are scored, and how."""
    config = run.config
    evaluation = {k: v for k, v in (config.get("evaluation") or {}).items() if k in ("limit", "seed", "temperature")}
    dataset = config.get("dataset") or {}
    held_out = {k: v for k, v in dataset.items() if not str(k).startswith("train")}
    template = config.get("template")
    return json.dumps(
        {"evaluation": evaluation, "dataset": held_out, "template": template}, sort_keys=True, default=str
    )


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
    first: tuple[Run, dict[str, Any]] | None = None
    for run in runs:
        leaves = {k: v for k, v in _leaves(run.config) if k != "seed" and run.decides_numbers(k)}
        if not leaves:
            continue
        if first is not None and first[0].task == run.task:
            seeds = (first[0].seed, run.seed)
            pairs = {k: (first[1].get(k), leaves.get(k)) for k in {*leaves, *first[1]}}
            # A seed that follows the run's own differs with it and is no other setting.
            names = sorted(
                k for k, pair in pairs.items() if pair[0] != pair[1] and not (k.endswith(".seed") and pair == seeds)
            )
            if names:
                return [f"The runs of {label} differ in more than the seed: {_some(names)}."]
        first = first or (run, leaves)
    return []


def _power(sweep: Sweep) -> list[str]:
    pairs = [sum(len(sweep.pairs(label, task)) for task in sweep.tasks) for label in sweep.others]
    if not pairs or smallest_p(max(pairs)) * len(pairs) <= sweep.settings.alpha:
        return []
    needed = fewest_pairs(len(pairs), sweep.settings.alpha)
    noun = "pairs" if max(pairs) > 1 else "pair"
    return [
        f"With {max(pairs)} {noun} the sign-flip test cannot go below p = {smallest_p(max(pairs)):.2g}, so no arm can "
        f"be supported at {sweep.settings.alpha:g} after correction for {len(pairs)} arms; it takes {needed} pairs."
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
