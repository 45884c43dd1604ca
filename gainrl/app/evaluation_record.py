"""What an evaluation leaves behind: ``completions.jsonl``, ``result.json`` and the table on the terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gainrl.functional.evaluation import bootstrap_interval
from gainrl.training.evaluation import (
    GREEDY,
    Completion,
    EvaluationSet,
    EvaluationSettings,
    Scores,
    scores,
)
from gainrl.types import Judgement

_HEADINGS = {"accuracy": "greedy", "solution_logprob": "solution"}
_WIDE = 16  # characters of a mean beside its interval
_FIELDS = ("row", "draw", "text", "value", "answer", "tokens", "truncated", "detail", "outcome")


class CompletionLog:
    """``completions.jsonl``: one line per completion with its problem and verdict, written batch by batch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, evaluated: EvaluationSet) -> list[Completion]:
        """The completions of a set that are already there; drops a last line that was cut in the middle."""
        found = []
        for record in self._records():
            if record["set"] == evaluated.name:
                judgement = Judgement(record["judgement"])
                found.append(Completion(judgement=judgement, **{name: record[name] for name in _FIELDS}))
        return found

    def append(self, evaluated: EvaluationSet, completions: Sequence[Completion]) -> None:
        lines = []
        for completion in completions:
            problem = evaluated.problems[completion.row]
            record = {
                "set": evaluated.name,
                "id": problem.id,
                "level": problem.level,
                "reference_answer": problem.reference_answer,
                **asdict(completion),
            }
            lines.append(json.dumps(record) + "\n")
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("".join(lines))

    def _records(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with open(self.path, "rb+") as file:
            whole = 0
            for line in file:
                if not line.endswith(b"\n"):
                    file.truncate(whole)
                    return
                whole += len(line)
                yield json.loads(line)


def set_result(
    evaluated: EvaluationSet,
    completions: Sequence[Completion],
    settings: EvaluationSettings,
    *,
    resamples: int,
    solutions: Sequence[float] = (),
) -> dict[str, Any]:
    """Plain numbers of one set: scores with 95% intervals over problems, overall and by level or source; verdicts.

    ``solutions``: the log-probability of each problem's worked solution, NaN where it has none.
    pass@k and maj@k are given for the powers of two up to the number of samples, and for that number.
    """
    found = scores(evaluated, completions, settings, ks=sample_counts(settings.samples))
    found.add_solutions(solutions)
    greedy = [completion for completion in completions if completion.draw == GREEDY]
    sampled = [completion for completion in completions if completion.draw != GREEDY]
    size = len(found.values["accuracy"])
    kind = f"{evaluated.compare_by}s"
    return {
        "problems": size,
        "scores": _intervals(found, np.full(size, True), settings.seed, resamples),
        kind: {
            group.partition("_")[2]: {"problems": int(members.sum())}
            | {"scores": _intervals(found, members, settings.seed, resamples)}
            for group, members in found.groups.items()
        },
        f"mean_over_{kind}": {
            name: float(np.mean(list(means.values()))) for name in found.values if (means := found.means(name))
        },
        "greedy": _facts(greedy),
        "samples": _facts(sampled) if sampled else None,
    }


def sample_counts(samples: int) -> list[int]:
    """1, 2, 4, ... up to ``samples``, and ``samples`` itself."""
    return sorted({2**power for power in range(samples.bit_length()) if 2**power <= samples} | {samples} - {0})


def _intervals(found: Scores, chosen: np.ndarray, seed: int, resamples: int) -> dict[str, dict[str, float]]:
    known = {name: values[chosen & ~np.isnan(values)] for name, values in found.values.items()}
    intervals = {
        name: bootstrap_interval(values, seed=seed, name=f"bootstrap/{name}", resamples=resamples)
        for name, values in known.items()
        if len(values)
    }
    return {name: {"mean": one.estimate, "low": one.low, "high": one.high} for name, one in intervals.items()}


def _facts(completions: Sequence[Completion]) -> dict[str, Any]:
    counts = Counter(completion.judgement for completion in completions)
    outcomes = Counter(completion.outcome for completion in completions if completion.outcome)
    return {
        "verdicts": {str(judgement): counts[judgement] for judgement in Judgement},
        "outcomes": dict(sorted(outcomes.items())),
        "mean_tokens": float(np.mean([completion.tokens for completion in completions])),
        "truncated": float(np.mean([completion.truncated for completion in completions])),
    }


def print_result(console: Console, result: dict[str, Any], samples: int) -> None:
    """Accuracies with their intervals by set and level, then where the verdicts went."""
    sets = result["sets"]
    wanted = ["accuracy", *(f"{name}@{samples}" for name in ("avg", "pass", "maj") if samples)]
    names = [name for name in wanted if any(name in found["scores"] for found in sets.values())]
    title = "Accuracy in % [95% interval over the N problems]"
    if any("solution_logprob" in found["scores"] for found in sets.values()):
        names.append("solution_logprob")
        title += "; log-probability of the worked solutions in nats per token"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("set", no_wrap=True)
    table.add_column("N", justify="right", no_wrap=True)
    for name in names:
        table.add_column(_HEADINGS.get(name, name), justify="right", no_wrap=True)
    # On a narrow terminal an interval has a line of its own.
    between = " " if console.width >= 24 + _WIDE * len(names) else "\n"
    for set_name, found in sets.items():
        table.add_row(f"[bold]{set_name}", f"{found['problems']:,}", *_cells(found["scores"], names, between))
        kind = "sources" if "sources" in found else "levels"
        if len(found[kind]) > 1:
            for group, part in found[kind].items():
                label = group if kind == "sources" else f"level {group}"
                table.add_row(
                    f"  {label}", f"{part['problems']:,}", *_cells(part["scores"], names, between), style="dim"
                )
            table.add_row(f"  mean of {kind}", "", *_means(found[f"mean_over_{kind}"], names))
    if len(sets) > 1:
        table.add_section()
        table.add_row("mean of sets", "", *_means(result["mean_over_sets"], names))
    console.print(table)
    facts = {f"{name}, {kind}": sets[name][kind] for name in sets for kind in ("greedy", "samples") if sets[name][kind]}
    console.print(_shares("Verdicts in % of completions", facts, "verdicts"))
    run = {name: found for name, found in facts.items() if found["outcomes"]}
    if run:
        console.print(_shares("How the programs ended, in %", run, "outcomes"))


def _shares(title: str, facts: dict[str, dict[str, Any]], kind: str) -> Table:
    occurring = list(dict.fromkeys(name for found in facts.values() for name, count in found[kind].items() if count))
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("", *occurring, "truncated", "mean tokens"):
        table.add_column(name.replace("_", " "), justify="right" if name else "left")
    for name, found in facts.items():
        total = sum(found[kind].values())
        shares = (f"{100 * found[kind].get(each, 0) / total:.1f}" for each in occurring)
        table.add_row(name, *shares, f"{100 * found['truncated']:.1f}", f"{found['mean_tokens']:.0f}")
    return table


def _cells(found: dict[str, dict[str, float]], names: Sequence[str], between: str) -> list[str]:
    """Each mean, ``between``, and its interval."""

    def cell(name: str, mean: float, low: float, high: float) -> str:
        if name == "solution_logprob":
            return f"{mean:.2f}{between}[dim]\\[{low:.2f},{high:.2f}][/dim]"
        return f"{100 * mean:.1f}{between}[dim]\\[{100 * low:.0f},{100 * high:.0f}][/dim]"

    return [cell(name, **found[name]) if name in found else "" for name in names]


def _means(means: dict[str, float], names: Sequence[str]) -> list[str]:
    def cell(name: str) -> str:
        if name not in means:
            return ""
        return f"{means[name]:.2f}" if name == "solution_logprob" else f"{100 * means[name]:.1f}"

    return [cell(name) for name in names]
