"""A level gate: harder prompts once the current level is mastered, easier ones once it is lost.

Sources: reasoning-gym (arXiv 2505.24760) promotes at a mean success of 0.70 and demotes at 0.10; RLVE
(arXiv 2511.07317) promotes at 0.90 after 8 groups of the top level and trains on a span of 4 levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.curricula.pickers import ClassWalk
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_levels, need_prompts
from gainrl.functional.streams import generator
from gainrl.types import GroupOutcome, SignalScores


class MasteryCurriculum(CurriculumDefaults):
    """Draws evenly from the top level reached and the ``span - 1`` levels below it.

    After ``window`` groups of the top level, the mean pass rate of the last ``window`` of them decides: at least
    ``promote`` opens the next level, below ``demote`` closes this one, and the window starts anew.
    Raises ValueError for thresholds out of order, and at `start` if a prompt has no level.
    """

    def __init__(self, *, promote: float = 0.7, demote: float = 0.1, window: int = 8, span: int = 1) -> None:
        between("demote", demote, 0, 1)
        between("promote", promote, demote, 1, open_low=True)
        between("window", window, 1)
        between("span", span, 1)
        self.promote, self.demote, self.window, self.span = promote, demote, window, span

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool, self._seed, self._draws = pool, seed, 0
        self._levels = need_levels("mastery", pool)
        self._walk = ClassWalk("mastery", self._levels, seed)
        self._top = 0
        self._recent: list[float] = []

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        levels = np.arange(len(self._walk))
        open_levels = (levels <= self._top) & (levels > self._top - self.span)
        stream = generator(self._seed, "selection", "mastery", self._draws)
        self._draws += 1
        return self._walk.draw(open_levels / open_levels.sum(), n, exclude, stream)

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        top = self._top
        rates = [group.pass_rate for group in groups if self._levels[group.row] == top and group.valid.any()]
        self._recent = [*self._recent, *rates][-self.window :]
        if len(self._recent) < self.window:
            return
        mean = float(np.mean(self._recent))
        if mean >= self.promote and top < len(self._walk) - 1:
            self._top, self._recent = top + 1, []
        elif mean < self.demote and top > 0:
            self._top, self._recent = top - 1, []

    def metrics(self) -> dict[str, float]:
        return {"level": float(self._top), "window_groups": float(len(self._recent))}

    def state_dict(self) -> dict[str, Any]:
        return {
            "draws": self._draws,
            "taken": list(self._walk.taken),
            "top": self._top,
            "recent": list(self._recent),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws, self._walk.taken = int(state["draws"]), list(state["taken"])
        self._top, self._recent = int(state["top"]), list(state["recent"])
