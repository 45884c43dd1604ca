"""SEC: a bandit over difficulty levels, rewarded by the size of the advantages they give (arXiv 2505.14970).

After each step the levels are valued by SEC's rule (`functional.bandits`); slots are drawn from
``softmax(Q / temperature)``. `curricula.bandit` applies the rule to sources.

Departure from the released code: levels that a step did not hold keep their value; the release lets them decay towards
0, which ``decay_unseen`` reproduces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.curricula.pickers import ClassWalk
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_levels, need_prompts
from gainrl.curricula.scorers import softmax
from gainrl.curricula.step_means import StepMeans
from gainrl.functional.bandits import mean_absolute_advantage, sec_values
from gainrl.functional.streams import generator
from gainrl.types import GroupOutcome, SignalScores


class SECCurriculum(CurriculumDefaults):
    """Draws a level for each slot by its learning signal so far, then the next prompt of that level.

    Raises ValueError for values out of range, and at `start` if a prompt has no level.
    """

    def __init__(self, *, alpha: float = 0.5, temperature: float = 1.0, decay_unseen: bool = False) -> None:
        between("alpha", alpha, 0, 1, open_low=True)
        between("temperature", temperature, 0, open_low=True)
        self.alpha, self.temperature, self.decay_unseen = alpha, temperature, decay_unseen

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool, self._seed, self._draws = pool, seed, 0
        self._levels = need_levels("sec", pool)
        self._walk = ClassWalk("sec", self._levels, seed)
        self._values = np.zeros(len(self._walk))
        self._rewards = StepMeans(len(self._walk))

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        if not len(exclude):
            self._close_step()
        stream = generator(self._seed, "selection", "sec", self._draws)
        self._draws += 1
        return self._walk.draw(softmax(self._values, self.temperature), n, exclude, stream)

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        for group in groups:
            if group.valid.any():
                self._rewards.add(self._levels[group.row], float(mean_absolute_advantage(np.array(group.pass_rate))))

    def metrics(self) -> dict[str, float]:
        chances = softmax(self._values, self.temperature)
        return {
            **{f"value/level_{c}": float(value) for c, value in enumerate(self._values)},
            **{f"probability/level_{c}": float(chance) for c, chance in enumerate(chances)},
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "draws": self._draws,
            "taken": list(self._walk.taken),
            "values": self._values.tolist(),
            "rewards": self._rewards.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws, self._walk.taken = int(state["draws"]), list(state["taken"])
        self._values = np.array(state["values"], float)
        self._rewards.load_state_dict(state["rewards"])

    def _close_step(self) -> None:
        rewards = self._rewards.take()
        self._values = sec_values(self._values, rewards, self.alpha, decay_unseen=self.decay_unseen)
