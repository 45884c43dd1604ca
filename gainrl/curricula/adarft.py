"""AdaRFT: hold the pass rate of a step at a target by moving the difficulty trained on (arXiv 2504.05520).

A step trains on the prompts nearest to the target difficulty ``T``; its mean 0/1 accuracy ``a`` then moves it::

    T <- clip(T + step_size tanh(sensitivity (a - target_accuracy)), 0, 100)

Departures from the released code:

1. The target moves after every step. The release reads it only once per epoch, because its loader fetches all
   batches of an epoch ahead; ``frozen_per_epoch`` reproduces that, identical steps included.
2. ``unseen_first`` takes the nearest among the prompts visited least, so that prompts do not come back at once.
3. Accuracy is the raw verdict, so that bonuses for format cannot shift the equilibrium.
4. The release knows labelled problems only. Here ``difficulty=signal`` counts a prompt without a number as hardest, all
   of them sharing their mean rank; ``difficulty=label`` refuses a pool in which any prompt lacks one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import tanh
from typing import Any, Literal

import numpy as np

from gainrl.curricula.defaults import CurriculumDefaults
from gainrl.curricula.pool import PromptPool
from gainrl.curricula.requirements import between, need_prompts, need_signal, one_of
from gainrl.curricula.scorers import rank_difficulty
from gainrl.curricula.step_means import StepMeans
from gainrl.functional.streams import generator
from gainrl.types import EpochFeedback, GroupOutcome, SignalScores


class AdaRFTCurriculum(CurriculumDefaults):
    """Trains on the prompts whose difficulty in [0, 100] is nearest to a moving target.

    ``difficulty``: ``label`` takes the data's own, ``signal`` the ranks of the run's signal scaled to [0, 100], the end
    that is learnt first being easy; with ``signal=pass_rate`` that is the initial pass rate.
    Raises ValueError for values out of range, and at `start` if the run lacks the difficulty asked for.
    """

    def __init__(
        self,
        *,
        difficulty: Literal["label", "signal"] = "signal",
        target_accuracy: float = 0.5,
        sensitivity: float = 2.0,
        step_size: float = 50.0,
        initial_target: float = 0.0,
        unseen_first: bool = False,
        frozen_per_epoch: bool = False,
    ) -> None:
        one_of("difficulty", difficulty, ("label", "signal"))
        between("target_accuracy", target_accuracy, 0, 1)
        between("sensitivity", sensitivity, 0, open_low=True)
        between("step_size", step_size, 0, open_low=True)
        between("initial_target", initial_target, 0, 100)
        self.difficulty, self.target_accuracy, self.sensitivity = difficulty, target_accuracy, sensitivity
        self.step_size, self.initial_target = step_size, initial_target
        self.unseen_first, self.frozen_per_epoch = unseen_first, frozen_per_epoch

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool = pool
        self._ties = generator(seed, "selection", "ties").permutation(pool.size)
        self._target = self._drawn_target = self.initial_target
        self._accuracy = StepMeans(1)
        if self.difficulty == "label":
            self._difficulties = _labels(pool)
        else:
            self.refresh(need_signal("adarft", signal, pool, "signal=pass_rate or signal=label"))

    def refresh(self, signal: SignalScores) -> None:
        if self.difficulty == "signal":
            self._difficulties = rank_difficulty(signal.values, signal.learn_first)

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        if not len(exclude):
            self._close_step()
        keys = np.abs(self._difficulties - self._drawn_target)
        if self.unseen_first:
            keys = keys + 1000.0 * self._pool.history.visits  # distances are at most 100
        keys = keys[self._ties]
        count = n + len(exclude)
        first = np.sort(np.argpartition(keys, count - 1)[:count])
        nearest = self._ties[first[np.argsort(keys[first], kind="stable")]]
        return nearest[~np.isin(nearest, np.asarray(exclude, np.int64))][:n]

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        for group in groups:
            if group.valid.any():
                self._accuracy.add(0, group.pass_rate)

    def end_epoch(self, feedback: EpochFeedback) -> None:
        self._close_step()
        self._drawn_target = self._target

    def metrics(self) -> dict[str, float]:
        """``target``: the difficulty that the current step was drawn with."""
        return {"target": self._drawn_target}

    def state_dict(self) -> dict[str, Any]:
        return {"target": self._target, "drawn_target": self._drawn_target, "accuracy": self._accuracy.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._target, self._drawn_target = float(state["target"]), float(state["drawn_target"])
        self._accuracy.load_state_dict(state["accuracy"])

    def _close_step(self) -> None:
        accuracy = float(self._accuracy.take()[0])
        if not np.isnan(accuracy):
            move = self.step_size * tanh(self.sensitivity * (accuracy - self.target_accuracy))
            self._target = min(max(self._target + move, 0.0), 100.0)
        if not self.frozen_per_epoch:
            self._drawn_target = self._target


def _labels(pool: PromptPool) -> np.ndarray:
    advice = "type curriculum.difficulty=signal with signal=pass_rate, signal=label or signal=angle"
    if pool.difficulties is None or np.isnan(pool.difficulties).any():
        raise ValueError(f"difficulty=label, but not every training problem has a difficulty: {advice}")
    low, high = float(pool.difficulties.min()), float(pool.difficulties.max())
    if low < 0 or high > 100:
        raise ValueError(
            f"difficulty=label reads numbers in [0, 100] and the data's lie in [{low:g}, {high:g}]: {advice}"
        )
    return pool.difficulties
