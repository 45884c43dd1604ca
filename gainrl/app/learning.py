"""Did a run learn anything? One sentence for its end, from its table of metrics."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path


def learning_line(table: Path) -> tuple[str, bool]:
    """Whether the policy learned anything, and how reward and accuracy moved.

    An update teaches nothing where all completions of every prompt got the same reward: its gradient is 0.
    """
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    trained = [row for row in rows if _number(row, "step") > 0]
    if not trained:
        return "learning: the run made no step", False
    taught = [row for row in trained if _number(row, "grad_norm") > 0]
    rewards = _values(trained, "reward")
    reward = f"reward {_from_to(rewards)}" if rewards else "no reward"
    if not taught:
        return (
            f"learning: nothing. In all {len(trained)} steps the completions of every prompt got the same reward "
            f"({reward}), so no update had a gradient. {_advice(rewards)}",
            False,
        )
    accuracies = _values(rows, "eval/accuracy")
    moved = f", held-out accuracy {_from_to(accuracies)}" if accuracies else ", no held-out problems"
    right = "" if any(_values(trained, "accuracy")) else "; no completion of a training prompt was right"
    return (
        f"learning: {len(taught)} of {len(trained)} steps had an update with a gradient; {reward}{moved}{right}",
        True,
    )


def _advice(rewards: Sequence[float]) -> str:
    if not rewards or max(rewards) <= 0:
        return (
            "No completion was right: look at rollouts.jsonl, and try easier problems, a stronger model or a longer "
            "rollout.max_new_tokens"
        )
    return "All completions of a prompt were equally good: try other problems, or a larger algorithm.group_size"


def _from_to(values: Sequence[float]) -> str:
    return f"{values[0]:.3f} -> {values[-1]:.3f}"


def _values(rows: Sequence[Mapping[str, str]], name: str) -> list[float]:
    numbers = [_number(row, name) for row in rows]
    return [number for number in numbers if not math.isnan(number)]


def _number(row: Mapping[str, str], name: str) -> float:
    text = row.get(name)
    return float(text) if text else math.nan
