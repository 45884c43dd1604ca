"""Every prompt once per pass, in a fresh random order: the sampling of plain GRPO (arXiv 2402.03300)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import need_prompts
from gainrl.functional.streams import generator
from gainrl.types import SignalScores


class UniformCurriculum(CurriculumDefaults):
    """Walks the permutation of pass ``k``, drawn from stream ``(seed, "selection", k)``, then that of pass ``k + 1``.

    A step that the rest of a pass cannot fill starts the next pass, as a loader with ``drop_last`` does. Refills take
    the next prompts of the walk, across the end of a pass if need be, so that the steps after them hold other prompts.
    """

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        self._begin(pool, np.arange(pool.size), seed)

    def _begin(self, pool: PromptPool, rows: np.ndarray, seed: int) -> None:
        """Walks over ``rows`` of the pool."""
        need_prompts(pool, len(rows), pool.prompts_per_step)
        self._pool, self._rows, self._seed = pool, rows, seed
        self._pass, self._position = 0, 0
        self._walk = self._permutation(0)

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        taken = set(map(int, exclude))
        need_prompts(self._pool, len(self._rows) - len(taken), n, len(taken))
        if not taken and self._position + n > len(self._rows):
            self._next_pass()
        rows: list[int] = []
        while len(rows) < n:
            if self._position == len(self._rows):
                self._next_pass()
            row = int(self._walk[self._position])
            self._position += 1
            if row not in taken:
                taken.add(row)
                rows.append(row)
        return np.array(rows, np.int64)

    def metrics(self) -> dict[str, float]:
        return {"pass": float(self._pass), "share_of_pass": self._position / len(self._rows)}

    def state_dict(self) -> dict[str, Any]:
        return {"pass": self._pass, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._pass, self._position = int(state["pass"]), int(state["position"])
        self._walk = self._permutation(self._pass)

    def _next_pass(self) -> None:
        self._pass, self._position = self._pass + 1, 0
        self._walk = self._permutation(self._pass)

    def _permutation(self, number: int) -> np.ndarray:
        return generator(self._seed, "selection", number).permutation(self._rows)
