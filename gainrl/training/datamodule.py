"""The data of a run: problem pool, prompts, and the sampler through which the curriculum chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from gainrl.curricula.pool import PromptPool
from gainrl.datasets.splits import DataSplits, training_problems
from gainrl.datasets.templates import BoundTemplate
from gainrl.training.runtime import Runtime
from gainrl.training.sampler import CurriculumSampler
from gainrl.types import Curriculum, GroupOutcome, LiveSignal, ProblemSet, PromptBatch, PromptTokens, SignalScores


class PromptDataModule(lightning.LightningDataModule):
    """Owns the training pool, its history, the curriculum and the sampler; batches are `PromptBatch` records.

    Every rank has the whole of it, and its batches hold the prompts of all ranks. The curriculum is bound to the pool
    by `bind`, which the signal's callback calls once the signal is known.
    """

    def __init__(
        self,
        *,
        splits: DataSplits,
        template: BoundTemplate,
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
        )
        self.sampler = CurriculumSampler(curriculum, self.pool)
        self._restored: Mapping[str, Any] | None = None

    def prompts(self, rows: Sequence[int] | np.ndarray) -> list[PromptTokens]:
        return self.template.encode_all([self.problems[int(row)].question for row in rows])

    def batch(self, rows: Sequence[int]) -> PromptBatch:
        problems = [self.problems[row] for row in rows]
        prompts = self.template.encode_all([problem.question for problem in problems]) if problems else []
        return PromptBatch(np.asarray(rows, np.int64), problems, prompts)

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

    def after_update(self, concentrations: Mapping[int, float]) -> None:
        """Shows the curriculum the concentration, by row, of the prompts that the update ran."""
        self.curriculum.after_update(concentrations)

    def bind(self, signal: SignalScores | None, measure: LiveSignal | None = None) -> None:
        """Starts the curriculum with a signal's values, then restores the state of a checkpoint if there is one.

        ``measure``: measures the signal on some rows under the current policy, for curricula that ask for it.
        """
        self.pool.measure = measure
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
