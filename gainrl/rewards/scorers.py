"""Calls reasoning-gym's scorers, in worker processes: some of them evaluate the answer with sympy's parser.

That parser runs Python, so an answer can do what the worker may: no more memory than its limit, no files, no secrets in
its environment, but reading and the network. Models that may attack their scorer belong in a container.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import reasoning_gym
from reasoning_gym.factory import DATASETS

from gainrl.rewards.own_scorers import UNKNOWN_TASK, guarded


def score_answer(task: str, settings: Mapping[str, Any], answer: str, entry: Mapping[str, Any]) -> tuple[str, Any]:
    """``("scored", score)``, or ``("unknown_task" | "failed", reason)``."""
    if task not in DATASETS:
        return UNKNOWN_TASK, f"reasoning-gym has no task {task!r}"
    return guarded(task, lambda: _scorer(task, tuple(sorted(settings.items())))(answer, entry))


@lru_cache(maxsize=256)
def _scorer(task: str, settings: tuple[tuple[str, Any], ...]) -> Callable[[str, Mapping[str, Any]], float]:
    return reasoning_gym.create_dataset(task, **dict(settings)).score_answer
