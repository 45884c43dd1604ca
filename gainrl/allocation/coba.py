"""CoBA-RL: the prompts worth most completions move from easy to hard as the policy fails less (arXiv 2602.03048).

A prompt of pass rate ``p`` with ``N`` completions is worth ``(1 - p^N - (1 - p)^N) Beta(p; a, k - a)``. With ``F`` the
mean failure rate of the step's prompts, and ``F' = F`` above one half and ``sigmoid(10 (F - 1/2))`` below::

    a = clip(lowest + slope F', lowest, k - lowest)

The density peaks at ``(a - 1) / (k - 2)``: a policy that mostly fails trains on what it passes, one that mostly passes
on what it fails. One completion after the other goes to the prompt with the largest increment.

The paper's abstract, and at second hand its value function, are what we know. Our choices: the first factor (the paper
speaks of saturation), ``lowest`` = 1 and ``slope`` = k - 2, and pass rates as in `allocation.knapsack`.
"""

from __future__ import annotations

import math

import numpy as np

from gainrl.allocation.fixed import OneRound
from gainrl.allocation.greedy import check_range, greedy_counts, mixed_chance_gain
from gainrl.types import Prospects


class CoBAAllocation(OneRound):
    """From ``least`` to ``most`` completions per prompt, by a value whose peak follows the policy.

    ``sharpness`` is ``k``. Raises ValueError for an empty range, and unless ``0 < lowest < sharpness / 2``.
    """

    needs_visits = True

    def __init__(
        self,
        *,
        least: int = 2,
        most: int = 128,
        sharpness: float = 11.0,
        lowest: float = 1.0,
        slope: float = 9.0,
    ) -> None:
        check_range(least, most)
        if not 0 < lowest < sharpness / 2:
            raise ValueError(
                f"allocation.lowest={lowest} must lie between 0 and half of allocation.sharpness={sharpness}: type "
                "allocation.lowest=1 allocation.sharpness=11"
            )
        if not 0 <= slope < math.inf:
            raise ValueError(f"allocation.slope={slope} must be 0 or more: type allocation.slope={sharpness - 2:g}")
        self.least, self.most = least, most
        self.sharpness, self.lowest, self.slope = sharpness, lowest, slope

    def first_parameter(self, failure_rate: float) -> float:
        """``a`` of the Beta density, from the mean failure rate."""
        moved = failure_rate if failure_rate > 0.5 else 1 / (1 + math.exp(-10 * (failure_rate - 0.5)))
        return min(max(self.lowest + self.slope * moved, self.lowest), self.sharpness - self.lowest)

    def plan(self, prospects: Prospects) -> np.ndarray:
        a = self.first_parameter(1 - float(prospects.rates.mean()))
        b = self.sharpness - a
        scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        rates = prospects.rates.astype(np.float64)
        density = np.exp(scale + (a - 1) * np.log(rates) + (b - 1) * np.log1p(-rates))

        def increment(prompt: int, count: int) -> float:
            return mixed_chance_gain(float(rates[prompt]), count) * float(density[prompt])

        return greedy_counts(increment, len(rates), prospects.budget, least=self.least, most=self.most)
