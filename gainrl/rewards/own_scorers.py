"""Calls the scorer of a task that reasoning-gym does not have, in a worker process that does not import it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

UNKNOWN_TASK = "unknown_task"
SCORED = "scored"
FAILED = "failed"


def score_answer(module: str, answer: str, entry: Mapping[str, Any]) -> tuple[str, Any]:
    """``("scored", score)`` by the function ``score_answer(answer, entry)`` of ``module``.

    Or ``("unknown_task" | "failed", reason)``.
    """
    try:
        scorer = importlib.import_module(module).score_answer
    except (ImportError, AttributeError) as fault:
        return UNKNOWN_TASK, f"the module {module!r} has no scorer: {fault}"
    return guarded(module, lambda: scorer(answer, entry))


def guarded(name: str, score: Callable[[], float]) -> tuple[str, Any]:
    """``("scored", score())``, or ``("failed", reason)``: scorers are foreign code."""
    try:
        return SCORED, float(score())
    except (MemoryError, RecursionError):
        raise
    except Exception as fault:
        return FAILED, f"the scorer of {name!r} raised {type(fault).__name__}: {str(fault)[:200]}"
