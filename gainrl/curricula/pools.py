"""Difficulty pools: prompts fall into hard, normal and easy by their last pass rate, and each pool has a weight.

The thresholds and weights are prime-rl's. With ``easy_threshold`` = 0.9 and ``easy_weight`` = 0 prompts retire
for good once their pass rate is 0.9 or more, the no-positive-resampling of ScaleRL (arXiv 2510.13786).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.curricula.pickers import proportional
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_prompts
from gainrl.functional.streams import generator
from gainrl.types import SignalScores


class PoolsCurriculum(CurriculumDefaults):
    """Draws each prompt in proportion to the weight of its pool.

    Hard: last pass rate at most ``hard_threshold``; easy: at least ``easy_threshold``; normal in between; unseen before
    a visit.
    Prompts of weight 0 are drawn only when all others are used up.
    """

    def __init__(
        self,
        *,
        hard_threshold: float = 0.25,
        easy_threshold: float = 0.75,
        hard_weight: float = 0.2,
        normal_weight: float = 1.0,
        easy_weight: float = 0.2,
        unseen_weight: float = 1.0,
    ) -> None:
        between("hard_threshold", hard_threshold, 0, 1)
        between("easy_threshold", easy_threshold, hard_threshold, 1)
        self.hard_threshold, self.easy_threshold = hard_threshold, easy_threshold
        names = ("hard_weight", "normal_weight", "easy_weight", "unseen_weight")
        weights = (hard_weight, normal_weight, easy_weight, unseen_weight)
        self._pool_weights = np.array([between(*pair, 0) for pair in zip(names, weights, strict=True)])

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool, self._seed, self._draws = pool, seed, 0

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        stream = generator(self._seed, "selection", "pools", self._draws)
        self._draws += 1
        return proportional(self._pool_weights[self._members()], n, exclude, stream)

    def metrics(self) -> dict[str, float]:
        """Share of all prompts in each pool."""
        shares = np.bincount(self._members(), minlength=4) / self._pool.size
        return {f"share/{name}": float(x) for name, x in zip(("hard", "normal", "easy", "unseen"), shares, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        return {"draws": self._draws}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws = int(state["draws"])

    def _members(self) -> np.ndarray:
        rates = self._pool.history.last_pass_rate
        hard, easy = rates <= self.hard_threshold, rates >= self.easy_threshold
        return np.select([np.isnan(rates), hard, easy], [3, 0, 2], default=1)
