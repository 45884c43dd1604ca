"""Caveats of the tables: budgets, seeds or evaluation sets that differ, too few runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gainrl.functional.contrasts import runs_needed
from gainrl.report.comparisons import FINAL, cells_of, pairs_runs, primary_score, scores_of, seed_correlation, unscored
from gainrl.report.duplicates import shared_runs
from gainrl.report.plan import leaves
from gainrl.report.reader import BASE_KEYS, Run
from gainrl.report.sweep import NO_GATE, Sweep

NO_CONTROL = (
    "No arm is a positive control, such as baseline=oracle (--gate ARM names one): whether these runs could show a "
    "difference at all was not tested."
)


def warnings(sweeps: Sequence[Sweep], axes: Sequence[tuple[str, ...]]) -> list[str]:
    """One sentence each, the gravest first; a sentence about some blocks only begins with their names."""
    blocks: dict[str, list[str]] = {}
    for sweep, own in zip(sweeps, axes, strict=True):
        for text in _of_sweep(sweep, own):
            blocks.setdefault(text, []).append(sweep.block)
    return [
        text
        if len(names) == len(sweeps)
        else f"{_some(names)}: {text[0].lower() if text[1:2].islower() else text[0]}{text[1:]}"
        for text, names in blocks.items()
    ]


def notices(sweep: Sweep) -> list[str]:
    """Options that would make the intended comparison certain; these are printed as well."""
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
        found += _never_taught(arm.label, arm.runs) or _never_moved(arm.label, arm.runs, sweep.settings.metric)
    found += unscored(sweep, axes)
    if sweep.repeated:
        found.append(
            f"{len(sweep.repeated)} runs repeat another run of their arm, by seed or by trajectory, and are left out: "
            + _some(run.source for run in sweep.repeated)
        )
    found += [f"{arm} is {other} under another name: the same trajectories." for arm, other in sweep.same.items()]
    found += [f"{text}: a difference between them is no new evidence." for text in shared_runs(sweep.arms)]
    found += _unit(sweep)
    if sweep.others and sweep.gate is None and sweep.settings.gate != NO_GATE:
        found.append(NO_CONTROL)
    found += _sensitivity(sweep, axes)
    return found


def evaluation_set(run: Run) -> str:
    """A digest of what decides which held-out problems are scored, and how; empty where that is not known."""
    if "evaluation_set" in run.facts or not run.config:
        return run.facts.get("evaluation_set", "")
    config = run.config
    evaluation = {name: value for name, value in (config.get("evaluation") or {}).items() if name != "every"}
    dataset = {
        name: value for name, value in (config.get("dataset") or {}).items() if not str(name).startswith("train")
    }
    rollout = {name: (config.get("rollout") or {}).get(name) for name in ("max_new_tokens", "top_p")}
    judged = {name: value for name, value in (config.get("reward") or {}).items() if name != "workers"}
    parts = (evaluation, dataset, rollout, judged, config.get("eval"), config.get("template"))
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def planned_budget(run: Run) -> str:
    if "planned" in run.facts:
        return run.facts["planned"]
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
    have = {label: {(run.base, run.seed) for run in sweep.chosen(label, task)} for label in sweep.labels}
    union = set().union(*have.values())
    short = {label: sorted(union - runs) for label, runs in have.items() if union - runs}
    if not short:
        return []
    several = len({base for base, _ in union}) > 1
    lines = [
        f"{label} lacks {_some([f'base {base} seed {seed}' if several else str(seed) for base, seed in runs])}"
        for label, runs in list(short.items())[:8]
    ]
    more = f" and {len(short) - 8} more arms" if len(short) > 8 else ""
    return [f"Seeds differ between arms{name}: " + "; ".join(lines) + more + "."]


def _starts(sweep: Sweep, task: str, name: str) -> list[str]:
    first = {(run.base, run.seed): sweep.first_score(run) for run in sweep.chosen(sweep.reference, task)}
    uneven = {
        label
        for label in sweep.others
        for run in sweep.chosen(label, task)
        if abs(sweep.first_score(run) - first.get((run.base, run.seed), sweep.first_score(run))) > 1e-9
    }
    if not uneven:
        return []
    return [
        f"Runs of one base and seed do not start from the same score{name} ({_some(sorted(uneven))}): their weights or "
        "held-out problems differ."
    ]


def _unit(sweep: Sweep) -> list[str]:
    bases = len(sweep.bases())
    if not sweep.others or bases > 2:
        return []
    if bases == 1:
        return ["All runs start from one base: conclusions hold for this base only."]
    return ["Two bases give intervals that are too wide to conclude from; it takes three, better four or more."]


def _sensitivity(sweep: Sweep, axes: tuple[str, ...]) -> list[str]:
    """The effect that the runs could show, if it is larger than the margin."""
    if sweep.settings.over == "bases" and len(sweep.bases()) > 1:
        return []
    name = primary_score(sweep, axes) if axes else FINAL
    score = scores_of(sweep, axes)[name]
    cells = [cell for label in sweep.labels for cell in cells_of(sweep, (label,), score, paired=False)[1][0]]
    freedom = sum(len(cell) - 1 for cell in cells)
    sizes = [len(sweep.chosen(label)) for label in sweep.others]
    if freedom < 1 or not sizes or sweep.settings.margin_share is not None:
        return []
    deviation = float(np.sqrt(sum(((cell - cell.mean()) ** 2).sum() for cell in cells) / freedom))
    value, pairs = seed_correlation(sweep, score)
    together = value if pairs_runs(sweep, score) and pairs else 0.0
    wanted = runs_needed(deviation, sweep.settings.margin, correlation=together, alpha=sweep.settings.alpha)
    if wanted <= max(sizes):
        return []
    return [
        f"With {max(sizes)} runs an arm an effect of the margin ({sweep.settings.margin:g}) is likely to be missed: "
        f"runs spread by {deviation:.4f}, so {wanted:,} would show it with 80% power (one comparison, uncorrected)."
    ]


def _mixed_settings(label: str, runs: list[Run]) -> list[str]:
    first: dict[str, tuple[Run, dict[str, Any]]] = {}
    names: set[str] = set()
    for run in runs:
        values = {k: v for k, v in leaves(run.config) if k != "seed" and k not in BASE_KEYS and run.decides_numbers(k)}
        if not values:
            continue
        other, known = first.setdefault(run.task, (run, values))
        seeds = (other.seed, run.seed)
        pairs = {k: (known.get(k), values.get(k)) for k in {*values, *known}}
        # A seed that follows the run's seed differs with it, and is not a setting of its own.
        names |= {k for k, pair in pairs.items() if pair[0] != pair[1] and not (k.endswith(".seed") and pair == seeds)}
    return [f"The runs of {label} differ in more than the seed: {_some(sorted(names))}."] if names else []


def _never_taught(label: str, runs: Sequence[Run]) -> list[str]:
    """Where all completions of every prompt had equal rewards, nothing was trained."""
    norms = [run.columns["grad_norm"] for run in runs if "grad_norm" in run.columns]
    if not norms or any(np.nansum(norm) > 0 for norm in norms):
        return []
    return [
        f"{label} learned nothing: in every step of its {len(norms)} runs all completions of a prompt had the same "
        "reward, so no update had a gradient. Its curves show the model that it began with."
    ]


def _never_moved(label: str, runs: Sequence[Run], metric: str) -> list[str]:
    """Where a score stays what it was before training, all its targets are reached at the start."""
    scores = [score for run in runs if len(score := run.evaluations("step", metric)[1])]
    if not scores or any(len(score) < 2 or np.ptp(score) > 0 for score in scores):
        return []
    return [
        f"{label} never moved: in all its {len(scores)} runs {metric} stayed what it was before training. Where it is "
        "the reference, every arm reaches its targets “at start”, which says nothing about speed."
    ]


def _some(names: Iterable[str], most: int = 8) -> str:
    listed = [f"“{name}”" if "," in name else name for name in names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
