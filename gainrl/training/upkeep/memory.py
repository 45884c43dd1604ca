"""Retrying what did not fit into memory, in smaller micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch

from gainrl.functional.memory import out_of_memory, release_cached_memory
from gainrl.training.distributed.ranks import Ranks
from gainrl.training.update import MiniBatch

Result = TypeVar("Result")


def within_memory(
    attempt: Callable[[], Result], plan: MiniBatch, forget: Callable[[int], None], ranks: Ranks
) -> Result:
    """``attempt()``; where memory runs out on any rank, all halve the micro-batches of ``plan`` and begin again.

    ``forget`` undoes what the failed attempt left and is told how often it failed so far. Raises the error of the
    device, or torch.OutOfMemoryError where there are several ranks, when single completions do not fit.
    """
    retries = 0
    while True:
        result, state = None, "done"
        try:
            result = attempt()
        except (RuntimeError, MemoryError) as fault:  # torch.OutOfMemoryError is a RuntimeError
            if not out_of_memory(fault):
                raise
            state = "halved" if plan.halve() else "stuck"
            if state == "stuck" and ranks.size == 1:
                raise
        states = ranks.gather(state)
        if all(each == "done" for each in states):
            return cast(Result, result)
        if "stuck" in states:
            raise torch.OutOfMemoryError(f"a single completion does not fit on rank {states.index('stuck')}")
        if state == "done":
            plan.halve()
        # Outside the handler, whose traceback keeps the tensors of the failed attempt alive.
        retries += 1
        forget(retries)
        release_cached_memory()
