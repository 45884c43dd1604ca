"""How many threads a run computes with: as told, or as the model itself is faster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from gainrl.models.scoring import completion_scores
from gainrl.types import Policy, PromptTokens

Threads = int | Literal["auto"]
_ROWS = 16  # completions of the forward and backward pass that is timed


def check_threads(value: object) -> Threads:
    """``value`` if it is a number of threads or ``auto``; raises ValueError if not."""
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value  # type: ignore[return-value]
    raise ValueError(f"trainer.threads={value!r} is no number of threads; type trainer.threads=1, or auto to try")


def available_threads() -> int:
    """What OMP_NUM_THREADS allows if it is set, else the processors that this process may use."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class ThreadChoice:
    """The number of threads that was faster, and the seconds of one pass with each number tried."""

    threads: int
    seconds: dict[int, float]

    def __str__(self) -> str:
        tried = ", ".join(f"{count}: {1000 * seconds:.0f} ms" for count, seconds in self.seconds.items())
        return f"{self.threads} thread{'s' if self.threads > 1 else ''} (of a training pass with {tried})"


def faster_threads(work: Callable[[], object], candidates: Sequence[int], *, seconds: float = 0.5) -> ThreadChoice:
    """Runs ``work`` for about ``seconds`` with each number of threads and leaves the faster one set.

    The fastest pass counts, since whatever else a machine does only slows it down; a tie goes to the earlier number.
    """
    best: dict[int, float] = {}
    for count in candidates:
        torch.set_num_threads(count)
        work()  # starts the threads
        begun = time.perf_counter()
        while True:
            start = time.perf_counter()
            work()
            now = time.perf_counter()
            best[count] = min(best.get(count, float("inf")), now - start)
            if now - begun >= seconds:
                break
    chosen = min(best, key=lambda count: best[count])
    torch.set_num_threads(chosen)
    return ThreadChoice(chosen, best)


def training_pass(
    policy: Policy, prompts: Sequence[PromptTokens], *, group_size: int, max_new_tokens: int
) -> Callable[[], None]:
    """A forward and backward pass of a small micro-batch, as training makes them; it leaves no gradient behind."""
    members = min(group_size, _ROWS)
    chosen = list(prompts[: max(1, _ROWS // members)])
    rows = len(chosen) * members
    ids = torch.full((rows, max_new_tokens), policy.pad_id)
    lengths = torch.full((rows,), max_new_tokens)

    def run() -> None:
        logprobs = completion_scores(policy, chosen, ids, lengths, members).logprobs
        assert logprobs is not None
        logprobs.sum().backward()
        policy.model.zero_grad(set_to_none=True)

    return run
