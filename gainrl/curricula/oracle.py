"""An upper bound for testbeds: the prompts with the highest true ``p (1 - p)`` of a candidate batch.

Each step measures the pass rate of ``factor`` times as many random prompts as it trains on by extra rollouts, which
are charged to the run. The rule is LILO's (arXiv 2502.12272: 4 times as many prompts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.curricula.pickers import best, candidates
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_prompts
from gainrl.curricula.scorers import learnability
from gainrl.functional.rounding import ceil_product
from gainrl.functional.streams import generator
from gainrl.types import SignalScores


class OracleCurriculum(CurriculumDefaults):
    """Trains on the best of ``factor * n`` candidates by their measured pass rate.

    Raises ValueError at `start` unless the run's signal is the pass rate of the current policy.
    """

    def __init__(self, *, factor: float = 4.0) -> None:
        between("factor", factor, 1)
        self.factor = factor

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        if signal is None or signal.name != "pass_rate" or pool.measure is None:
            given = "none" if signal is None else signal.name
            raise ValueError(
                f"curriculum=oracle measures pass rates and the run's signal is {given}: add signal=pass_rate"
            )
        self._pool, self._measure, self._seed = pool, pool.measure, seed
        self._draws = self._measured = 0
        self._mean_rate = 0.0

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        stream = generator(self._seed, "selection", "oracle", self._draws)
        self._draws += 1
        rows = candidates(self._pool.size, ceil_product(self.factor, n), exclude, stream)
        rates = np.nan_to_num(np.asarray(self._measure(rows), float))
        self._measured += len(rows)
        self._mean_rate = float(rates.mean())
        return best(rows, learnability(rates), n)

    def metrics(self) -> dict[str, float]:
        return {"prompts_measured": float(self._measured), "mean_pass_rate": self._mean_rate}

    def state_dict(self) -> dict[str, Any]:
        return {"draws": self._draws, "measured": self._measured, "mean_rate": self._mean_rate}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws, self._measured = int(state["draws"]), int(state["measured"])
        self._mean_rate = float(state["mean_rate"])
