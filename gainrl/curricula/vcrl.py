"""VCRL: prompts whose groups vary most come back in place of groups that vary too little (arXiv 2509.19803).

Steps walk over the pool as plain GRPO does. The variance of a group, as a share of the largest that its size allows,
is ``v = k (G - k) / (floor(G / 2) ceil(G / 2))``. Prompts with ``v`` of ``threshold`` or more go into a bank, with a
priority of ``v`` that later visits blend in, ``priority <- momentum priority + (1 - momentum) v``; prompts below it
leave the bank. A refill takes the prompts of highest priority from the bank, each at most ``replays`` times, and then
goes on with the walk. Which groups a refill replaces is the admission's choice: `baseline=vcrl` has the band of pass
rates in which ``v`` is 0.8 or more.

The rule is known at second hand. Our choices: the form of the momentum, and a threshold for the bank that rises from
``early_threshold`` to ``threshold`` after ``early_steps`` steps while the band of the admission stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.curricula.pool import PromptPool
from gainrl.curricula.requirements import between, need_prompts
from gainrl.curricula.uniform import UniformCurriculum
from gainrl.types import GroupOutcome, SignalScores


class VCRLCurriculum(UniformCurriculum):
    """Draws like `UniformCurriculum` and refills from a bank of prompts of high variance.

    Raises ValueError for values out of range.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.8,
        early_threshold: float = 0.3,
        early_steps: int = 20,
        momentum: float = 0.9,
        replays: int = 2,
    ) -> None:
        between("threshold", threshold, 0, 1)
        between("early_threshold", early_threshold, 0, 1)
        between("early_steps", early_steps, 0)
        between("momentum", momentum, 0, 1, open_high=True)
        between("replays", replays, 1)
        self.threshold, self.early_threshold, self.early_steps = threshold, early_threshold, early_steps
        self.momentum, self.replays = momentum, replays

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        super().start(pool, signal, seed)
        self._bank: dict[int, tuple[float, int]] = {}  # priority and replays so far, by row
        self._replayed = 0

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        if not len(exclude):
            return super().propose(n)
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        taken = set(map(int, exclude))
        free = sorted((row for row in self._bank if row not in taken), key=lambda row: (-self._bank[row][0], row))
        rows = free[:n]
        for row in rows:
            priority, times = self._bank.pop(row)
            if times + 1 < self.replays:
                self._bank[row] = (priority, times + 1)
        self._replayed += len(rows)
        if len(rows) < n:
            rows += super().propose(n - len(rows), [*exclude, *rows]).tolist()
        return np.array(rows, np.int64)

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        limit = self.early_threshold if self._pool.step < self.early_steps else self.threshold
        for group in groups:
            verdicts = group.correct[group.valid]
            size, correct = len(verdicts), int(verdicts.sum())
            if size < 2:
                continue
            variance = correct * (size - correct) / ((size // 2) * (size - size // 2))
            priority, times = self._bank.pop(group.row, (variance, 0))
            if variance >= limit:
                self._bank[group.row] = (self.momentum * priority + (1 - self.momentum) * variance, times)

    def metrics(self) -> dict[str, float]:
        """``bank``: prompts in it; ``replayed``: prompts that came from it so far."""
        return super().metrics() | {"bank": float(len(self._bank)), "replayed": float(self._replayed)}

    def state_dict(self) -> dict[str, Any]:
        bank = [[row, priority, times] for row, (priority, times) in sorted(self._bank.items())]
        return super().state_dict() | {"bank": bank, "replayed": self._replayed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._bank = {int(row): (float(priority), int(times)) for row, priority, times in state["bank"]}
        self._replayed = int(state["replayed"])
