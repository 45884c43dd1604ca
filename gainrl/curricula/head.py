"""A linear head on the policy's hidden states, fitted online to what the last groups showed.

The head is a ridge regression (`functional.ridge`) on the groups of the last ``window`` steps. It has no weights of its
own to train: it is solved anew for each draw, so that it follows the policy at the pace of the window.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gainrl.curricula.pickers import candidates
from gainrl.curricula.pool import CurriculumDefaults, PromptPool, StatesWanted
from gainrl.curricula.requirements import between, need_prompts
from gainrl.functional.ridge import ridge_predictions
from gainrl.functional.rounding import ceil_product
from gainrl.functional.streams import generator
from gainrl.types import GroupOutcome, SignalScores


class FittedHead:
    """Remembers states and outcomes of the groups of the last ``window`` steps and predicts other prompts' outcomes.

    ``prior``: the prediction before the first outcome. ``predict`` keeps the states of its rows until the next call
    without ``more``, so that `learn` knows what the prompts of the step looked like when they were chosen.
    """

    def __init__(self, *, window: int, ridge: float, prior: float) -> None:
        self.window, self.ridge, self.prior = window, ridge, prior
        self._states: dict[int, np.ndarray] = {}  # of the rows of the step under way
        self._predicted: dict[int, float] = {}
        self._known = np.zeros((0, 0), np.float32)
        self._outcomes, self._steps = np.zeros(0), np.zeros(0, np.int64)
        self.error, self.judged = 0.0, 0

    def predict(self, pool: PromptPool, rows: np.ndarray, *, more: bool = False) -> np.ndarray:
        """``[R]`` predictions for ``rows``; ``more``: a further draw of the same step."""
        if not more:
            self._states, self._predicted = {}, {}
        assert pool.states is not None
        states = np.asarray(pool.states(rows), np.float32)
        if len(self._outcomes):
            predicted = ridge_predictions(self._known, self._outcomes, states, self.ridge)
        else:
            predicted = np.full(len(rows), self.prior)
        for row, state, value in zip(rows.tolist(), states, predicted.tolist(), strict=True):
            self._states[row], self._predicted[row] = state, value
        return predicted

    def learn(self, step: int, outcomes: Mapping[int, float]) -> None:
        """Takes in what the groups of a round showed, by row."""
        self.error, self.judged = 0.0, 0
        rows = [row for row in outcomes if row in self._states]
        if not rows:
            return
        values = np.array([outcomes[row] for row in rows])
        self.error = float(np.square(values - [self._predicted[row] for row in rows]).sum())
        self.judged = len(rows)
        states = np.stack([self._states[row] for row in rows])
        recent = self._steps > step - self.window
        known = self._known[recent] if len(self._known) else states[:0]
        self._known = np.concatenate([known, states])
        self._outcomes = np.concatenate([self._outcomes[recent], values])
        self._steps = np.concatenate([self._steps[recent], np.full(len(rows), step)])

    def metrics(self) -> dict[str, float]:
        """``prediction_error``: mean squared error about the last round; ``head_examples``: groups it is fitted to."""
        return {
            "prediction_error": self.error / max(self.judged, 1),
            "head_examples": float(len(self._outcomes)),
        }

    def state_dict(self) -> dict[str, Any]:
        import torch  # only where a checkpoint is written

        return {
            "known": torch.from_numpy(self._known.copy()),
            "outcomes": torch.from_numpy(self._outcomes.copy()),
            "steps": torch.from_numpy(self._steps.copy()),
            "error": self.error,
            "judged": self.judged,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._known, self._outcomes = state["known"].numpy().copy(), state["outcomes"].numpy().copy()
        self._steps = state["steps"].numpy().copy()
        self.error, self.judged = float(state["error"]), int(state["judged"])
        self._states, self._predicted = {}, {}


class HeadCurriculum(CurriculumDefaults):
    """Chooses among ``factor * n`` random candidates by what a `FittedHead` predicts of them.

    ``factor=None`` makes the whole pool candidates. ``layer`` and ``activation`` say which hidden states the head
    reads, as of ``signal=angle``. ``live``: under the current policy, at every draw, and not once before training.
    ``ridge``: strength of the penalty on the head's weights, as a share of the states' variance.

    A subclass has a ``name`` and `pick`. Raises ValueError for values out of range.
    """

    name: ClassVar[str]
    prior: ClassVar[float] = 0.5

    def __init__(
        self, *, factor: float | None, window: int, ridge: float, live: bool, layer: int | float, activation: str
    ) -> None:
        if factor is not None:
            between("factor", factor, 1)
        between("window", window, 1)
        between("ridge", ridge, 0, open_low=True)
        self.factor, self.window, self.ridge = factor, window, ridge
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

    @abstractmethod
    def pick(self, rows: np.ndarray, predicted: np.ndarray, n: int, stream: np.random.Generator) -> np.ndarray:
        """``n`` of the candidates by their predictions; ``rows`` are in random order."""

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


def need_states(curriculum: str, pool: PromptPool) -> None:
    """Raises ValueError where the run cannot give the hidden states of its prompts."""
    if pool.states is None:
        raise ValueError(
            f"curriculum={curriculum} reads the hidden states of prompts, and nothing measures them here: pass "
            "measure_states to SignalRefresh (gainrl-train does), or choose a curriculum that reads none "
            "(curriculum=mopps)"
        )


def outcomes_by_row(groups: Sequence[GroupOutcome]) -> dict[int, float]:
    """The pass rate of each group that has a completion that could be judged."""
    return {group.row: group.pass_rate for group in groups if group.valid.any()}
