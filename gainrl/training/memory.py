"""Retrying what did not fit into memory, in smaller micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch

from gainrl.training.ranks import Ranks
from gainrl.training.update import MiniBatch

Result = TypeVar("Result")


def within_memory(
    attempt: Callable[[], Result], plan: MiniBatch, forget: Callable[[int], None], ranks: Ranks
) -> Result:
    """``attempt()``; where memory runs out on any rank, all halve the micro-batches of ``plan`` and begin again.

    ``forget`` undoes what the failed attempt left and is told how often it failed so far. Raises
    torch.OutOfMemoryError when single completions do not fit.
    """
    retries = 0
    while True:
        result, state = None, "done"
        try:
            result = attempt()
        except torch.OutOfMemoryError:
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
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
