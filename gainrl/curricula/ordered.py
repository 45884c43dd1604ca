"""A fixed order from one end of a signal to the other: easy to hard, or hard to easy.

``stretched``: one pass over the sorted pool that ends with the run. Step ``t`` of ``T`` takes ``P`` consecutive ranks
from ``round(t / (T - 1) (N - P))`` on, so that a prompt comes back in neighbouring steps when the run is longer than
the pool. ``sorted_epochs``: each epoch holds a random part of the pool, without replacement per pass, sorted by rank.

Departure from the releases that repeat prompts to stretch a pass (arXiv 2505.14970): no prompt twice in a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from gainrl.curricula.pickers import learning_order
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import need_prompts, need_signal, one_of
from gainrl.functional.ranking import reversed_order
from gainrl.functional.rounding import simplest_fraction
from gainrl.functional.streams import generator
from gainrl.types import SignalScores


class OrderedCurriculum(CurriculumDefaults):
    """Serves prompts by the rank of a signal; ``hard_first`` starts from the end that is to be learnt last.

    Refills take the ranks nearest to the step's own. Raises ValueError at `start` if the run has no signal.
    """

    def __init__(self, *, mode: Literal["stretched", "sorted_epochs"] = "stretched", hard_first: bool = False) -> None:
        one_of("mode", mode, ("stretched", "sorted_epochs"))
        self.mode, self.hard_first = mode, hard_first

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool, self._seed, self._position = pool, seed, 0
        step = pool.prompts_per_step
        self._part = min(pool.prompts_per_epoch, pool.size // step * step)
        self.refresh(need_signal("ordered", signal, pool, "signal=label, signal=length or signal=pass_rate"))

    def refresh(self, signal: SignalScores) -> None:
        order = learning_order(signal, self._seed)
        self._order = reversed_order(order, signal.values) if self.hard_first else order
        self._ranks = np.empty(len(order), np.int64)
        self._ranks[self._order] = np.arange(len(order))
        self._sorted: tuple[int, np.ndarray] | None = None

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        if len(exclude):
            return self._nearest(float(self._ranks[np.asarray(exclude, np.int64)].mean()), n, exclude)
        if self.mode == "stretched":
            share = min(self._pool.step / max(self._pool.total_steps - 1, 1), 1.0)
            first = round(simplest_fraction(share) * (self._pool.size - n))
            return self._order[first : first + n]
        number, offset = divmod(self._position, self._part)
        rows = self._epoch_part(number)[offset : offset + n]
        self._position += len(rows)
        if len(rows) < n:
            rank = float(self._ranks[rows].mean())
            rows = np.concatenate([rows, self._nearest(rank, n - len(rows), rows.tolist())])
        return rows

    def metrics(self) -> dict[str, float]:
        return {"progress": self._pool.progress}

    def state_dict(self) -> dict[str, Any]:
        return {"position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._position = int(state["position"])

    def _epoch_part(self, number: int) -> np.ndarray:
        if self._sorted is None or self._sorted[0] != number:
            number_of_pass, part = divmod(number, self._pool.size // self._part)
            walk = generator(self._seed, "selection", "ordered", number_of_pass).permutation(self._pool.size)
            ranks = np.sort(walk[part * self._part : (part + 1) * self._part])
            self._sorted = (number, self._order[ranks])
        return self._sorted[1]

    def _nearest(self, rank: float, n: int, exclude: Sequence[int]) -> np.ndarray:
        free = np.setdiff1d(np.arange(self._pool.size), self._ranks[np.asarray(exclude, np.int64)])
        return self._order[np.sort(free[np.argsort(np.abs(free - rank), kind="stable")[:n]])]
