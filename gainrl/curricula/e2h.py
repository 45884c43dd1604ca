"""E2H Reasoner: a schedule over difficulty levels that shifts from easy to hard with the run (arXiv 2506.06632)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from gainrl.curricula.pickers import ClassWalk
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_levels, need_prompts, one_of
from gainrl.functional.rounding import floor_product
from gainrl.functional.streams import generator
from gainrl.types import SignalScores

Schedule = Literal["classic", "balanced", "cosine", "gaussian"]
_SCHEDULES = ("classic", "balanced", "cosine", "gaussian")


def level_probabilities(
    schedule: Schedule, levels: int, progress: float, *, exponent: float, sigma: float, floor: bool
) -> np.ndarray:
    """``[K]`` probabilities of the levels ``k = 0 .. K - 1`` when a share ``progress`` (rho) of the run is complete.

    With ``p_min = 2 / (K (K + 1))`` where ``floor``, else 0::

        classic   all on min(floor(rho K), K - 1)
        balanced  1 / K
        cosine    a (K - k) / Z + (1 - a) (k + 1) / Z, a = (1 + cos(pi rho)) / 2, Z = K (K + 1) / 2;
                  raised to p_min where below, then normalised
        gaussian  p_min + (1 - K p_min) q(k), q(k) ~ exp(-(k - (K - 1) rho^exponent)^2 / (2 sigma^2))
    """
    k = np.arange(levels)
    smallest = 2 / (levels * (levels + 1)) if floor else 0.0
    if schedule == "classic":
        return (k == min(floor_product(progress, levels), levels - 1)).astype(float)
    if schedule == "balanced":
        return np.full(levels, 1 / levels)
    if schedule == "cosine":
        easy, total = (1 + np.cos(np.pi * progress)) / 2, levels * (levels + 1) / 2
        raised = np.maximum(easy * (levels - k) / total + (1 - easy) * (k + 1) / total, smallest)
        return raised / raised.sum()
    logs = -((k - (levels - 1) * progress**exponent) ** 2) / (2 * sigma**2)
    weights = np.exp(logs - logs.max())
    return smallest + (1 - levels * smallest) * weights / weights.sum()


class E2HCurriculum(CurriculumDefaults):
    """Draws a level for each slot of a step (`level_probabilities`), then the next prompt of that level.

    Raises ValueError at `start` if a prompt has no level.
    """

    def __init__(
        self, *, schedule: Schedule = "cosine", exponent: float = 0.5, sigma: float = 0.5, floor: bool = True
    ) -> None:
        one_of("schedule", schedule, _SCHEDULES)
        between("exponent", exponent, 0, open_low=True)
        between("sigma", sigma, 0, open_low=True)
        self.schedule, self.exponent, self.sigma, self.floor = schedule, exponent, sigma, floor

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool, self._seed, self._draws = pool, seed, 0
        self._walk = ClassWalk("e2h", need_levels("e2h", pool), seed)

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        stream = generator(self._seed, "selection", "e2h", self._draws)
        self._draws += 1
        return self._walk.draw(self._probabilities(), n, exclude, stream)

    def metrics(self) -> dict[str, float]:
        return {f"probability/level_{k}": float(p) for k, p in enumerate(self._probabilities())}

    def state_dict(self) -> dict[str, Any]:
        return {"draws": self._draws, "taken": list(self._walk.taken)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws, self._walk.taken = int(state["draws"]), list(state["taken"])

    def _probabilities(self) -> np.ndarray:
        return level_probabilities(
            self.schedule,
            len(self._walk),
            self._pool.progress,
            exponent=self.exponent,
            sigma=self.sigma,
            floor=self.floor,
        )
