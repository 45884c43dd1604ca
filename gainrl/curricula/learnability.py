"""Prompts in proportion to what they can still teach by their last pass rate ``p``, with a share for stale ones.

The weight of a prompt is a mixture of three distributions over the pool::

    (1 - uniform) ((1 - staleness) score / sum(score) + staleness age / sum(age)) + uniform / N

``score`` is ``p (1 - p)`` (SFL, arXiv 2408.15099) or the chance of a mixed group; ``age`` the number of steps since the
last visit (PLR, arXiv 2010.03934).

Departure from SFL: ``p`` comes from the training rollouts themselves, so that nothing is rolled out for selection;
prompts not seen yet count as having ``p = unseen_pass_rate``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from gainrl.curricula.pickers import proportional
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_prompts, one_of
from gainrl.curricula.scorers import learnability, mixed_probability
from gainrl.functional.streams import generator
from gainrl.types import SignalScores


class LearnabilityCurriculum(CurriculumDefaults):
    """Draws prompts by learnability, staleness and a uniform floor."""

    def __init__(
        self,
        *,
        score: Literal["variance", "mixed"] = "variance",
        staleness: float = 0.1,
        uniform: float = 0.1,
        unseen_pass_rate: float = 0.5,
    ) -> None:
        one_of("score", score, ("variance", "mixed"))
        between("staleness", staleness, 0, 1)
        between("uniform", uniform, 0, 1)
        between("unseen_pass_rate", unseen_pass_rate, 0, 1)
        self.score, self.staleness, self.uniform, self.unseen_pass_rate = score, staleness, uniform, unseen_pass_rate

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool, self._seed, self._draws = pool, seed, 0

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        stream = generator(self._seed, "selection", "learnability", self._draws)
        self._draws += 1
        return proportional(self._weights(), n, exclude, stream)

    def metrics(self) -> dict[str, float]:
        """``effective_prompts``: ``1 / sum(weight^2)``, the number of prompts that equal weights would spread over."""
        return {
            "mean_score": float(self._scores().mean()),
            "effective_prompts": float(1 / (self._weights() ** 2).sum()),
        }

    def state_dict(self) -> dict[str, Any]:
        return {"draws": self._draws}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws = int(state["draws"])

    def _scores(self) -> np.ndarray:
        rates = self._pool.history.last_pass_rate.astype(np.float64)
        rates = np.where(np.isnan(rates), self.unseen_pass_rate, rates)
        return learnability(rates) if self.score == "variance" else mixed_probability(rates, self._pool.group_size)

    def _weights(self) -> np.ndarray:
        ages = np.maximum(self._pool.step - self._pool.history.last_step, 0).astype(np.float64)
        chosen = (1 - self.staleness) * _normalised(self._scores()) + self.staleness * _normalised(ages)
        return (1 - self.uniform) * chosen + self.uniform / self._pool.size


def _normalised(values: np.ndarray) -> np.ndarray:
    total = values.sum()
    return values / total if total > 0 else np.full(len(values), 1 / len(values))
