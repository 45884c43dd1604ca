"""SPO: a value tracked for each prompt in place of the mean of its group, and prompts drawn by it (arXiv 2509.13232).

With ``p = a / (a + b)`` the tracked pass rate of a prompt, a step draws prompts in proportion to
``sqrt(p (1 - p)) + explore``, and a visit with ``k`` of ``G`` correct completions gives::

    a <- memory^G a + k        b <- memory^G b + G - k

`algorithm=spo` subtracts the ``p`` from before the step from the reward (``advantage.baseline=tracker``), so that a
group may hold one completion. The values begin with the run's pass rates, which count as ``start_weight`` completions,
if its signal is the pass rate, and with 1/2 otherwise.

The rule was read in the released code. Departure: there ``memory`` falls from 0.96 to 0.875 as the policy moves away
from that of the prompt's last visit, by a KL that takes a forward of its own; here it is a constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.curricula.pickers import proportional
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_prompts
from gainrl.functional.streams import generator
from gainrl.types import GroupOutcome, SignalScores


class SPOCurriculum(CurriculumDefaults):
    """Draws prompts by the deviation of their tracked pass rate, and gives the value to the advantages.

    ``memory``: what a completion leaves of those before it. Raises ValueError for values out of range.
    """

    def __init__(self, *, memory: float = 0.92, explore: float = 0.05, start_weight: float = 8.0) -> None:
        between("memory", memory, 0, 1)
        between("explore", explore, 0)
        between("start_weight", start_weight, 0, open_low=True)
        self.memory, self.explore, self.start_weight = memory, explore, start_weight

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool, self._seed, self._draws = pool, seed, 0
        rates = np.full(pool.size, 0.5)
        if signal is not None and signal.name == "pass_rate":
            rates = np.where(np.isnan(signal.values), 0.5, signal.values)
        self._counts = self.start_weight * np.stack([rates, 1 - rates])
        self._pending: list[tuple[int, int, int]] = []  # row, correct and wrong completions of the step's groups
        self._error, self._judged = 0.0, 0

    def tracked_values(self, rows: np.ndarray) -> np.ndarray:
        """``[P]`` tracked pass rates of ``rows``, without what the step that is under way has shown."""
        return self._counts[0, rows] / self._counts[:, rows].sum(0)

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        if not len(exclude):
            self._close_step()
        stream = generator(self._seed, "selection", "spo", self._draws)
        self._draws += 1
        return proportional(self._weights(), n, exclude, stream)

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        self._error, self._judged = 0.0, 0
        for group in groups:
            verdicts = group.correct[group.valid]
            if len(verdicts):
                self._error += float(self.tracked_values(np.array([group.row]))[0] - group.pass_rate) ** 2
                self._judged += 1
                correct = int(verdicts.sum())
                self._pending.append((group.row, correct, len(verdicts) - correct))

    def metrics(self) -> dict[str, float]:
        """``prediction_error``: mean squared error of the values about the last round's pass rates."""
        return {
            "prediction_error": self._error / max(self._judged, 1),
            "mean_value": float(self.tracked_values(np.arange(self._pool.size)).mean()),
        }

    def state_dict(self) -> dict[str, Any]:
        import torch  # only where a checkpoint is written

        return {
            "draws": self._draws,
            "counts": torch.from_numpy(self._counts.copy()),
            "pending": [list(one) for one in self._pending],
            "error": self._error,
            "judged": self._judged,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws, self._counts = int(state["draws"]), state["counts"].numpy().copy()
        self._pending = [(int(row), int(correct), int(wrong)) for row, correct, wrong in state["pending"]]
        self._error, self._judged = float(state["error"]), int(state["judged"])

    def _weights(self) -> np.ndarray:
        values = self.tracked_values(np.arange(self._pool.size))
        return np.sqrt(values * (1 - values)) + self.explore

    def _close_step(self) -> None:
        for row, correct, wrong in self._pending:
            kept = self.memory ** (correct + wrong)
            self._counts[:, row] = kept * self._counts[:, row] + np.array([correct, wrong])
        self._pending = []
