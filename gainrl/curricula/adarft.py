"""AdaRFT: hold the pass rate of a step at a target by moving the difficulty trained on (arXiv 2504.05520).

A prompt's difficulty ``d`` is 100 times the share of failed attempts, ``100 (1 - p)``. A step trains on the prompts
nearest to the target difficulty ``T``; its mean 0/1 accuracy ``a`` then moves it::

    T <- clip(T + step_size tanh(sensitivity (a - target_accuracy)), 0, 100)

The constants belong to that unit: near a pass rate of one half the published ones move ``T`` by 100 times the error of
``a``, which is the error of ``d``.

Departures from the released code:

1. The target moves after every step. The release reads it only once per epoch, because its loader fetches all
   batches of an epoch ahead; ``frozen_per_epoch`` reproduces that, identical steps included.
2. ``unseen_first`` takes the nearest among the prompts visited least, so that prompts do not come back at once.
3. Accuracy is the raw verdict, so that bonuses for format cannot shift the equilibrium.
4. The release knows labelled problems only. Here pass rates that the run measures itself serve where the data has no
   difficulties, and prompts without a number never train unless ``unlabelled`` gives them one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import tanh
from typing import Any, Literal

import numpy as np

from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_prompts, need_signal, one_of
from gainrl.curricula.scorers import rank_difficulty
from gainrl.curricula.step_means import StepMeans
from gainrl.functional.streams import generator
from gainrl.types import EpochFeedback, GroupOutcome, SignalScores

Difficulty = Literal["published", "pass_rate", "rank"]
_LARGEST_GRADE = 10


class AdaRFTCurriculum(CurriculumDefaults):
    """Trains on the prompts whose difficulty in [0, 100] is nearest to a moving target.

    ``difficulty``: ``published`` reads the difficulties of the data, ``pass_rate`` is ``100 (1 - p)`` with the pass
    rates that ``signal=pass_rate`` measured, ``rank`` the ranks of any signal scaled to [0, 100], the end learnt
    first being easy. Ranks are not pass rates, so the published constants need not settle on them. ``auto`` is
    ``published`` where the data has shares of failures in percent and ``pass_rate`` elsewhere: levels, grades from 1 to
    10 (AMC, AIME) and numbers outside [0, 100] are another unit.
    ``unlabelled``: the difficulty of prompts that have none; None leaves them out.

    Raises ValueError for values out of range, and at `start` if the run lacks the difficulty asked for.
    """

    def __init__(
        self,
        *,
        difficulty: Literal["auto", "published", "pass_rate", "rank"] = "auto",
        unlabelled: float | None = None,
        target_accuracy: float = 0.5,
        sensitivity: float = 2.0,
        step_size: float = 50.0,
        initial_target: float = 0.0,
        unseen_first: bool = False,
        frozen_per_epoch: bool = False,
    ) -> None:
        one_of("difficulty", difficulty, ("auto", "published", "pass_rate", "rank"))
        if unlabelled is not None:
            between("unlabelled", unlabelled, 0, 100)
        between("target_accuracy", target_accuracy, 0, 1)
        between("sensitivity", sensitivity, 0, open_low=True)
        between("step_size", step_size, 0, open_low=True)
        between("initial_target", initial_target, 0, 100)
        self.difficulty, self.unlabelled = difficulty, unlabelled
        self.target_accuracy, self.sensitivity = target_accuracy, sensitivity
        self.step_size, self.initial_target = step_size, initial_target
        self.unseen_first, self.frozen_per_epoch = unseen_first, frozen_per_epoch

    def reads(self, levels: np.ndarray | None, difficulties: np.ndarray | None) -> Difficulty:
        """Which difficulty a pool with these columns (``[N]`` each, see `PromptPool`) is trained by."""
        if self.difficulty != "auto":
            return self.difficulty
        return "published" if _in_percent(levels, difficulties) else "pass_rate"

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool = pool
        self._ties = generator(seed, "selection", "ties").permutation(pool.size)
        self._target = self._drawn_target = self.initial_target
        self._accuracy = StepMeans(1)
        self._reads = self.reads(pool.levels, pool.difficulties)
        if self._reads == "published":
            self._take(_published(pool.difficulties))
        else:
            advice = "signal=pass_rate" if self._reads == "pass_rate" else "signal=label or signal=angle"
            self.refresh(need_signal("adarft", signal, pool, advice))

    def refresh(self, signal: SignalScores) -> None:
        if self._reads == "rank":
            ranks = rank_difficulty(signal.values, signal.learn_first)
            self._take(np.where(np.isnan(signal.values), np.nan, ranks))
        elif self._reads == "pass_rate":
            if signal.name != "pass_rate":
                raise ValueError(
                    f"AdaRFT's difficulty is 100 (1 - pass rate), and signal={signal.name} measures another thing: "
                    "type signal=pass_rate, or curriculum.difficulty=rank for the ranks of the signal"
                )
            self._take(100 * (1 - np.asarray(signal.values, np.float64)))

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        taken = np.asarray(exclude, np.int64)
        need_prompts(self._pool, self._known - int(np.count_nonzero(self._labelled[taken])), n, len(taken))
        if not len(taken):
            self._close_step()
        keys = np.abs(self._difficulties - self._drawn_target)
        if self.unseen_first:
            keys = keys + 1000.0 * self._pool.history.visits  # distances are at most 100
        keys = np.where(self._labelled, keys, np.inf)[self._ties]
        count = min(n + len(taken), len(keys))
        first = np.sort(np.argpartition(keys, count - 1)[:count])
        nearest = self._ties[first[np.argsort(keys[first], kind="stable")]]
        return nearest[~np.isin(nearest, taken)][:n]

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        for group in groups:
            if group.valid.any():
                self._accuracy.add(0, group.pass_rate)

    def end_epoch(self, feedback: EpochFeedback) -> None:
        self._close_step()
        self._drawn_target = self._target

    def metrics(self) -> dict[str, float]:
        """``target``: the difficulty that the step was drawn with; ``left_out``: prompts without a difficulty."""
        return {"target": self._drawn_target, "left_out": float(self._pool.size - self._known)}

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

    def _take(self, difficulties: np.ndarray) -> None:
        if self.unlabelled is not None:
            difficulties = np.where(np.isnan(difficulties), self.unlabelled, difficulties)
        self._labelled = ~np.isnan(difficulties)
        self._known = int(self._labelled.sum())
        self._difficulties = np.where(self._labelled, difficulties, 0.0)
        if self._known < self._pool.prompts_per_step:
            raise ValueError(
                f"only {self._known} of {self._pool.size} prompts have a difficulty and a step trains on "
                f"{self._pool.prompts_per_step}: type curriculum.unlabelled=100 to count the others as hardest, or "
                f"schedule.prompts_per_step={max(self._known, 1)} or less"
            )


def _in_percent(levels: np.ndarray | None, difficulties: np.ndarray | None) -> bool:
    """Whether the data's numbers can be shares of failures in percent, and neither its levels nor grades up to 10."""
    if difficulties is None or np.isnan(difficulties).all():
        return False
    known = ~np.isnan(difficulties)
    if levels is not None and np.array_equal(difficulties[known], levels[known]):
        return False
    return difficulties[known].min() >= 0 and _LARGEST_GRADE < difficulties[known].max() <= 100


def _published(difficulties: np.ndarray | None) -> np.ndarray:
    if difficulties is None or np.isnan(difficulties).all():
        fault = "no training problem has one"
    else:
        low, high = float(np.nanmin(difficulties)), float(np.nanmax(difficulties))
        if low >= 0 and high <= 100:
            return difficulties
        fault = f"the data's lie in [{low:g}, {high:g}]"
    raise ValueError(
        f"curriculum.difficulty=published reads difficulties in [0, 100] and {fault}: type "
        "curriculum.difficulty=pass_rate signal=pass_rate"
    )
