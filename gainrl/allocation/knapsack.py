"""Knapsack RL: more completions for prompts whose groups are likely to teach, hard ones first (arXiv 2509.25849).

A prompt of pass rate ``p`` with ``N`` completions is worth::

    V(N, p) = (1 - p^N - (1 - p)^N) p (1 - p)^2

the chance that its group holds both outcomes, times what such a group teaches. The plan with the largest sum under the
budget gives one completion after the other to the prompt with the largest increment, since increments fall with ``N``.

The rule is known at second hand. Our choice: the pass rate is that of the prompt's last visit with one correct and one
wrong completion added, so that no prompt is written off, and 1/2 for a prompt not seen yet.
"""

from __future__ import annotations

import numpy as np

from gainrl.allocation.fixed import OneRound
from gainrl.allocation.greedy import check_range, greedy_counts, mixed_chance_gain
from gainrl.types import Prospects


class KnapsackAllocation(OneRound):
    """From ``least`` to ``most`` completions per prompt, by their value. Raises ValueError for an empty range."""

    needs_visits = True

    def __init__(self, *, least: int = 2, most: int = 128) -> None:
        check_range(least, most)
        self.least, self.most = least, most

    def plan(self, prospects: Prospects) -> np.ndarray:
        def increment(prompt: int, count: int) -> float:
            p = float(prospects.rates[prompt])
            return mixed_chance_gain(p, count) * p * (1 - p) ** 2

        return greedy_counts(increment, len(prospects.rates), prospects.budget, least=self.least, most=self.most)
