"""DUMP: an upper-confidence bandit over difficulty levels (arXiv 2504.09710).

Levels are valued by DUMP's upper bound (`functional.bandits`) over the last ``window`` completions of each; slots are
drawn from ``softmax(bound / temperature)``. `curricula.bandit` applies the rule to sources.

Departure from the released code: it feeds rewards of held-out problems to the bandit; here it sees rollouts of training
prompts only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.curricula.pickers import ClassWalk
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_levels, need_prompts
from gainrl.curricula.scorers import softmax
from gainrl.functional.bandits import dump_bounds, recent_advantages
from gainrl.functional.streams import generator
from gainrl.types import GroupOutcome, SignalScores


class DUMPCurriculum(CurriculumDefaults):
    """Draws a level for each slot by its upper confidence bound, then the next prompt of that level.

    Raises ValueError for values out of range, and at `start` if a prompt has no level.
    """

    def __init__(self, *, window: int = 300, temperature: float = 0.1) -> None:
        between("window", window, 1)
        between("temperature", temperature, 0, open_low=True)
        self.window, self.temperature = window, temperature

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool, self._seed, self._draws = pool, seed, 0
        self._levels = need_levels("dump", pool)
        self._walk = ClassWalk("dump", self._levels, seed)
        self._recent: list[list[float]] = [[] for _ in range(len(self._walk))]
        self._counts = np.zeros(len(self._walk), np.int64)

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        stream = generator(self._seed, "selection", "dump", self._draws)
        self._draws += 1
        return self._walk.draw(softmax(self._bounds(), self.temperature), n, exclude, stream)

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        for group in groups:
            level, verdicts = self._levels[group.row], group.correct[group.valid]
            if len(verdicts):
                self._recent[level] = recent_advantages(self._recent[level], verdicts, self.window)
                self._counts[level] += len(verdicts)

    def metrics(self) -> dict[str, float]:
        bounds = self._bounds()
        return {
            **{f"bound/level_{c}": float(bound) for c, bound in enumerate(bounds)},
            **{f"probability/level_{c}": float(p) for c, p in enumerate(softmax(bounds, self.temperature))},
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "draws": self._draws,
            "taken": list(self._walk.taken),
            "recent": [list(values) for values in self._recent],
            "counts": self._counts.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws, self._walk.taken = int(state["draws"]), list(state["taken"])
        self._recent = [list(values) for values in state["recent"]]
        self._counts = np.array(state["counts"], np.int64)

    def _bounds(self) -> np.ndarray:
        return dump_bounds(self._recent, self._counts)
