"""The data of a run: problem pool, prompts, and the sampler through which the curriculum chooses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from gainrl.curricula.pool import PromptPool
from gainrl.datasets.splits import DataSplits, training_problems
from gainrl.datasets.templates import BoundPrompts
from gainrl.training.runtime import Runtime
from gainrl.types import (
    Curriculum,
    GroupOutcome,
    LiveSignal,
    Problem,
    ProblemSet,
    PromptBatch,
    PromptTokens,
    SignalScores,
)

_KEPT_PROMPTS = 4096  # with their tokens, a few kilobytes each


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


class PromptDataModule(lightning.LightningDataModule):
    """Owns the training pool, its history, the curriculum and the sampler; batches are `PromptBatch` records.

    Every rank has the whole of it, and its batches hold the prompts of all ranks. The curriculum is bound to the pool
    by `bind`, which the signal's callback calls once the signal is known.
    """

    def __init__(
        self,
        *,
        splits: DataSplits,
        template: BoundPrompts,
        curriculum: Curriculum,
        prompts_per_step: int,
        steps_per_epoch: int,
        total_steps: int,
        group_size: int,
        runtime: Runtime | None = None,
    ) -> None:
        super().__init__()
        self.problems: ProblemSet = training_problems(splits, prompts_per_step=prompts_per_step)
        self.held_out = splits.held_out
        self.compare_by = splits.compare_by
        self.template = template
        self.curriculum = curriculum
        runtime = runtime or Runtime()
        self.seed = runtime.seed
        self.pool = PromptPool(
            size=len(self.problems),
            prompts_per_step=prompts_per_step,
            steps_per_epoch=steps_per_epoch,
            total_steps=total_steps,
            group_size=group_size,
            levels=self.problems.column("level"),
            difficulties=self.problems.column("difficulty"),
            counters=runtime.counters,
            column=self.problems.column,
        )
        self.sampler = CurriculumSampler(curriculum, self.pool)
        self._restored: Mapping[str, Any] | None = None
        self._drawn: dict[int, tuple[Problem, PromptTokens]] = {}

    def prompts(self, rows: Sequence[int] | np.ndarray) -> list[PromptTokens]:
        return self.template.encode_problems([self.problems[int(row)] for row in rows])

    def batch(self, rows: Sequence[int]) -> PromptBatch:
        """The prompts of ``rows``; one that was drawn before (a window draws often) is not rendered again."""
        new = [row for row in dict.fromkeys(rows) if row not in self._drawn]
        if len(self._drawn) + len(new) > _KEPT_PROMPTS:
            self._drawn.clear()
            new = list(dict.fromkeys(rows))
        problems = [self.problems[row] for row in new]
        prompts = self.template.encode_problems(problems) if problems else []
        self._drawn.update(zip(new, zip(problems, prompts, strict=True), strict=True))
        drawn = [self._drawn[row] for row in rows]
        return PromptBatch(
            np.asarray(rows, np.int64), [problem for problem, _ in drawn], [tokens for _, tokens in drawn]
        )

    def refill(self, count: int) -> PromptBatch:
        """More prompts for the current step, from the same curriculum."""
        return self.batch(self.sampler.refill(count))

    @property
    def left(self) -> int:
        """Rows of the pool that the current step has not drawn."""
        return self.sampler.left

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        """Shows history and curriculum the groups of a rollout round."""
        self.pool.history.observe(groups)
        self.curriculum.observe(groups)

    def tracked_values(self, rows: Sequence[int]) -> np.ndarray | None:
        """``[P]`` values that the curriculum tracked for ``rows`` before this step; None where it tracks none."""
        track = getattr(self.curriculum, "tracked_values", None)
        return None if track is None else track(np.asarray(rows, np.int64))

    def after_update(self, concentrations: Mapping[int, float]) -> None:
        """Shows the curriculum the concentration, by row, of the prompts that the update ran."""
        self.curriculum.after_update(concentrations)

    def bind(
        self, signal: SignalScores | None, measure: LiveSignal | None = None, states: LiveSignal | None = None
    ) -> None:
        """Starts the curriculum with a signal's values, then restores the state of a checkpoint if there is one.

        ``measure``: measures the signal on some rows under the current policy, for curricula that ask for it.
        ``states``: hidden states of some rows, ``[R, D]``.
        """
        self.pool.measure, self.pool.states = measure, states
        self.curriculum.start(self.pool, signal, self.seed)
        if self._restored is not None:
            self.pool.load_state_dict(self._restored["pool"])
            self.curriculum.load_state_dict(self._restored["curriculum"])
            self._restored = None

    def train_dataloader(self) -> DataLoader:
        # No workers: a worker would ask the curriculum for steps whose feedback does not exist yet.
        return DataLoader(_Rows(len(self.problems)), batch_sampler=self.sampler, collate_fn=self.batch, num_workers=0)

    def transfer_batch_to_device(self, batch: PromptBatch, device: torch.device, dataloader_idx: int) -> PromptBatch:
        return batch  # plain ids: the engine and the scoring forward move what they need

    def state_dict(self) -> dict[str, Any]:
        return {"pool": self.pool.state_dict(), "curriculum": self.curriculum.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict  # applied in `bind`: a curriculum has no state before it knows its signal


class _Rows(Dataset[int]):
    """The identity on row numbers: problems are looked up a step at a time, by the collate function."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, row: int) -> int:
        return row
