"""The order of training prompts, asked of the curriculum step by step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from gainrl.curricula.pool import PromptPool
from gainrl.types import Curriculum


class CurriculumSampler(Sampler[list[int]]):
    """A batch sampler that yields the rows of one step at a time.

    A step's rows are drawn when they are asked for and not before, so that they follow all feedback of the steps
    before it; the loader must have no workers. An epoch interrupted after ``done`` steps goes on with the next one.

    Every rank runs the same curriculum and draws the whole step; the work on it is shared later
    (`training.distributed.ranks`). The curriculum's order would otherwise depend on the number of ranks.
    """

    def __init__(self, curriculum: Curriculum, pool: PromptPool) -> None:
        self.curriculum = curriculum
        self.pool = pool
        self.step_rows: np.ndarray = np.empty(0, np.int64)  # of the current step, refills included

    def __len__(self) -> int:
        return self.pool.steps_per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.pool.step % self.pool.steps_per_epoch, self.pool.steps_per_epoch):
            self.step_rows = self.curriculum.propose(self.pool.prompts_per_step)
            yield self.step_rows.tolist()

    @property
    def left(self) -> int:
        """Rows of the pool that the current step has not drawn."""
        return self.pool.size - len(self.step_rows)

    def refill(self, count: int) -> list[int]:
        """``count`` more rows for the current step."""
        rows = self.curriculum.propose(count, exclude=self.step_rows.tolist())
        self.step_rows = np.concatenate([self.step_rows, rows])
        return rows.tolist()
