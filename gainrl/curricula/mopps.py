"""MoPPS: a Beta belief about each prompt's pass rate, and Thompson sampling towards a target (arXiv 2507.04632).

From ``factor * n`` random candidates, each given a draw ``p ~ Beta(a, b)``, the step takes those whose draw is nearest
to ``target`` (``topk``), or random ones among those whose draw lies within 0.2 of it (``threshold``; at the paper's
target of 0.5 that is its band from 0.3 to 0.7). A group with ``k`` of ``G`` correct then gives::

    a <- memory a + (1 - memory) + k        b <- memory b + (1 - memory) + G - k
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from gainrl.curricula.pickers import best, candidates
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_prompts, one_of
from gainrl.functional.rounding import ceil_product
from gainrl.functional.streams import generator
from gainrl.types import GroupOutcome, SignalScores

_BAND = 0.2  # the paper's threshold rule accepts draws within 0.5 +- 0.2; here the band follows the target


class MoPPSCurriculum(CurriculumDefaults):
    """Trains on prompts that are believed to be passed at a rate of ``target``; the prior is Beta(1, 1).

    ``memory`` = 1 never forgets; below 1 the belief remembers about ``G / (1 - memory)`` completions.
    """

    def __init__(
        self,
        *,
        factor: float = 16.0,
        target: float = 0.5,
        memory: float = 1.0,
        pick: Literal["topk", "threshold"] = "topk",
    ) -> None:
        between("factor", factor, 1)
        between("target", target, 0, 1)
        between("memory", memory, 0, 1)
        one_of("pick", pick, ("topk", "threshold"))
        self.factor, self.target, self.memory, self.pick = factor, target, memory, pick

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool, self._seed, self._draws = pool, seed, 0
        self._beliefs = np.ones((2, pool.size))
        self._error, self._judged = 0.0, 0

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        stream = generator(self._seed, "selection", "mopps", self._draws)
        self._draws += 1
        rows = candidates(self._pool.size, ceil_product(self.factor, n), exclude, stream)
        distance = np.abs(stream.beta(*self._beliefs[:, rows]) - self.target)
        if self.pick == "threshold":
            distance = np.maximum(distance, _BAND)  # within the band all are equal and the random order decides
        return best(rows, -distance, n)

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        self._error, self._judged = 0.0, 0
        for group in groups:
            verdicts = group.correct[group.valid]
            if len(verdicts):
                belief = self._beliefs[:, group.row]
                self._error += (belief[0] / belief.sum() - group.pass_rate) ** 2
                self._judged += 1
                outcome = np.array([verdicts.sum(), len(verdicts) - verdicts.sum()])
                self._beliefs[:, group.row] = self.memory * belief + (1 - self.memory) + outcome

    def metrics(self) -> dict[str, float]:
        """``prediction_error``: mean squared error of the beliefs about the last round's pass rates."""
        return {"prediction_error": self._error / max(self._judged, 1)}

    def state_dict(self) -> dict[str, Any]:
        rows = np.flatnonzero((self._beliefs != 1).any(0))
        import torch  # only where a checkpoint is written

        return {
            "draws": self._draws,
            "rows": torch.from_numpy(rows),
            "beliefs": torch.from_numpy(self._beliefs[:, rows]),
            "error": float(self._error),
            "judged": self._judged,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws, self._error, self._judged = int(state["draws"]), float(state["error"]), int(state["judged"])
        self._beliefs = np.ones((2, self._pool.size))
        self._beliefs[:, state["rows"].numpy()] = state["beliefs"].numpy()
