"""PCL: the candidates whose pass rate, as a head on the policy's hidden state predicts it, is nearest to a target.

From ``factor * n`` random candidates a step takes the ``n`` with the smallest ``|V(x) - target|`` (arXiv 2510.01135).
``V`` regresses the pass rate of the groups that training rolls out anyway, so that selecting costs a prefill and no
rollout.

Our choices where the rule is known at second hand: the head is a ridge regression on the mean direction of the
question's states, fitted anew to the groups of the last ``window`` steps (`curricula.head`); the paper trains a value
model beside the policy. With ``live=false`` the states are those of the model before training, measured once: the cost
of the angle's prefill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.curricula.head import FittedHead, need_states, outcomes_by_row
from gainrl.curricula.pickers import best, candidates
from gainrl.curricula.pool import CurriculumDefaults, PromptPool, StatesWanted
from gainrl.curricula.requirements import between, need_prompts
from gainrl.functional.rounding import ceil_product
from gainrl.functional.streams import generator
from gainrl.types import GroupOutcome, SignalScores


class PCLCurriculum(CurriculumDefaults):
    """Trains on prompts whose predicted pass rate is nearest to ``target``.

    ``factor=None`` makes the whole pool candidates. ``layer`` and ``activation`` say which hidden states the head
    reads, as of ``signal=angle``. ``live``: under the current policy, at every draw, and not once before training.
    ``ridge``: strength of the penalty on the head's weights, as a share of the states' variance.

    Raises ValueError for values out of range.
    """

    name = "pcl"
    prior = 0.5

    def __init__(
        self,
        *,
        target: float = 0.5,
        factor: float | None = 4.0,
        window: int = 16,
        ridge: float = 0.1,
        live: bool = True,
        layer: int | float = -1,
        activation: str = "mlp_input",
    ) -> None:
        between("target", target, 0, 1)
        if factor is not None:
            between("factor", factor, 1)
        between("window", window, 1)
        between("ridge", ridge, 0, open_low=True)
        self.target, self.factor, self.window, self.ridge = target, factor, window, ridge
        self.wanted_states = StatesWanted(layer, activation, live)

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        need_states(self.name, pool)
        self._pool, self._seed, self._draws = pool, seed, 0
        self._measured = 0 if self.wanted_states.live else pool.size
        self._head = FittedHead(window=self.window, ridge=self.ridge, prior=self.prior)

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        stream = generator(self._seed, "selection", self.name, self._draws)
        self._draws += 1
        wanted = self._pool.size if self.factor is None else ceil_product(self.factor, n)
        rows = candidates(self._pool.size, wanted, exclude, stream)
        if self.wanted_states.live:
            self._measured += len(rows)
        return self.pick(rows, self._head.predict(self._pool, rows, more=bool(len(exclude))), n, stream)

    def pick(self, rows: np.ndarray, predicted: np.ndarray, n: int, stream: np.random.Generator) -> np.ndarray:
        """``n`` of the candidates by their predictions; ``rows`` are in random order."""
        return best(rows, -np.abs(predicted - self.target), n)

    def worth(self, rate: float) -> float:
        """What the head learns to predict of a group with this pass rate."""
        return rate

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        found = {row: self.worth(rate) for row, rate in outcomes_by_row(groups).items()}
        self._head.learn(groups[0].step if groups else 0, found)

    def metrics(self) -> dict[str, float]:
        """``prompts_measured``: prompts whose states were measured so far; the rest as of `FittedHead.metrics`."""
        return self._head.metrics() | {"prompts_measured": float(self._measured)}

    def state_dict(self) -> dict[str, Any]:
        return {"draws": self._draws, "measured": self._measured, "head": self._head.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws, self._measured = int(state["draws"]), int(state["measured"])
        self._head.load_state_dict(state["head"])
