"""One completion after the other to the prompt that gains most by it: the best plan where every gain falls."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np


def greedy_counts(gain: Callable[[int, int], float], prompts: int, budget: int, *, least: int, most: int) -> np.ndarray:
    """``[P]`` counts from ``least`` to ``most`` that sum to ``budget``, as far as ``most`` lets them.

    ``gain(p, n)`` is what prompt ``p`` gains by its completion number ``n + 1``, which must not grow with ``n``: then
    no other plan is worth more. Equal gains go to the prompt with fewer completions. Where the budget has no ``least``
    for every prompt, all get the same.
    """
    least = min(least, budget // prompts)
    counts = np.full(prompts, least, np.int64)
    left = budget - least * prompts
    queue = [(-gain(p, least), least, p) for p in range(prompts)] if least < most else []
    heapq.heapify(queue)
    while left > 0 and queue:
        _, count, prompt = heapq.heappop(queue)
        counts[prompt] = count + 1
        left -= 1
        if count + 1 < most:
            heapq.heappush(queue, (-gain(prompt, count + 1), count + 1, prompt))
    return counts


def mixed_chance_gain(rate: float, count: int) -> float:
    """What completion ``count + 1`` adds to ``1 - p^n - (1 - p)^n``, the chance that a group has both outcomes."""
    return rate**count * (1 - rate) + (1 - rate) ** count * rate


def check_range(least: int, most: int) -> None:
    """Raises ValueError unless a prompt may get from ``least`` to ``most`` completions."""
    if least < 1 or most < least:
        raise ValueError(
            f"allocation.least={least} and allocation.most={most} leave no number of completions: type "
            "allocation.least=2 allocation.most=128"
        )
