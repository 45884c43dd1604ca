"""GRESO: skip prompts that taught nothing on their last visits, before paying for rollouts (arXiv 2506.02177).

Walks random permutations of the pool. A prompt whose last ``z`` visits were all correct is kept with probability
``max(p_easy^z, 0.01)``, one whose last ``z`` were all wrong with ``max(p_hard^z, 0.01)``. From the second pass on, each
step lowers ``p_easy`` by 0.01 if at least the target share of its groups were all correct, else raises it, and
likewise ``p_hard``; both stay in [0.05, 0.95].

Departures from the paper: "all correct" and "all wrong" are counts of raw verdicts, not thresholds on a reward with a
format bonus; the number of prompts rolled out follows `admission=refill`, not a running estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_prompts
from gainrl.curricula.step_means import StepMeans
from gainrl.functional.streams import generator
from gainrl.types import GroupOutcome, SignalScores

_CHANGE, _LOWEST, _HIGHEST, _EXPLORE = 0.01, 0.05, 0.95, 0.01


class GRESOCurriculum(CurriculumDefaults):
    """Uniform sampling that skips solved and hopeless prompts with growing probability.

    ``zero_variance_target``: share of groups without signal to aim at, ``hard_per_easy`` all-wrong groups for each
    all-correct one.
    """

    def __init__(
        self, *, zero_variance_target: float = 0.25, hard_per_easy: float = 2.0, initial_keep: float = 0.5
    ) -> None:
        between("zero_variance_target", zero_variance_target, 0, 1)
        between("hard_per_easy", hard_per_easy, 0)
        between("initial_keep", initial_keep, _LOWEST, _HIGHEST)
        self.zero_variance_target, self.hard_per_easy = zero_variance_target, hard_per_easy
        self.initial_keep = initial_keep

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool, self._seed = pool, seed
        self._keep = np.full(2, self.initial_keep)  # easy, hard
        self._shares = StepMeans(2)
        self._skipped = 0
        self._enter(0, 0)

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        if not len(exclude):
            self._close_step()
        rows: list[int] = []
        taken = set(map(int, exclude))
        while len(rows) < n:
            if self._position == self._pool.size:
                self._enter(self._pass + 1, 0)
            row = int(self._walk[self._position])
            kept = self._coins[self._position] < self._keep_probability(row)
            self._position += 1
            if row in taken:
                continue
            if kept:
                taken.add(row)
                rows.append(row)
            else:
                self._skipped += 1
        return np.array(rows, np.int64)

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        for group in groups:
            if group.valid.any():
                self._shares.add(0, group.pass_rate == 1.0)
                self._shares.add(1, group.pass_rate == 0.0)

    def metrics(self) -> dict[str, float]:
        return {
            "keep_probability/easy": float(self._keep[0]),
            "keep_probability/hard": float(self._keep[1]),
            "prompts_skipped": float(self._skipped),
            "pass": float(self._pass),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "pass": self._pass,
            "position": self._position,
            "keep": self._keep.tolist(),
            "shares": self._shares.state_dict(),
            "skipped": self._skipped,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._keep, self._skipped = np.array(state["keep"], float), int(state["skipped"])
        self._shares.load_state_dict(state["shares"])
        self._enter(int(state["pass"]), int(state["position"]))

    def _enter(self, number: int, position: int) -> None:
        self._pass, self._position = number, position
        stream = generator(self._seed, "selection", "greso", number)
        self._walk, self._coins = stream.permutation(self._pool.size), stream.random(self._pool.size)

    def _keep_probability(self, row: int) -> float:
        history = self._pool.history
        chance = self._keep[0] ** history.run_solved[row] * self._keep[1] ** history.run_failed[row]
        return max(float(chance), _EXPLORE)

    def _close_step(self) -> None:
        shares = self._shares.take()
        if self._pass == 0 or np.isnan(shares).any():
            return
        targets = self.zero_variance_target * np.array([1, self.hard_per_easy]) / (1 + self.hard_per_easy)
        self._keep = np.clip(self._keep + np.where(shares >= targets, -_CHANGE, _CHANGE), _LOWEST, _HIGHEST)
