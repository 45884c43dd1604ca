"""Updates whose gradient is not finite: what is kept of them, and when a run gives up.

The update is skipped: weights and optimizer stay as they are. The first of a row leaves a bundle from which it can be
computed again; after ``limit`` in a row the run stops, with its checkpoints from before them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gainrl.functional.aggregation import Normalizer
from gainrl.training.checkpoints import write_checkpoint
from gainrl.training.experience import Experience
from gainrl.training.update import MiniBatch
from gainrl.training.weighing import Weights
from gainrl.types import FinishReason, PromptBatch, PromptTokens, Rollout


class Diverged(RuntimeError):
    """Too many updates in a row were not finite."""


@dataclass(slots=True)
class Update:
    """What one optimizer step learns from (`training.learner`).

    ``old_BT``: ``[B, T]`` log-probabilities of the sampling policy, None where it is the current one; ``noted_BT``:
    where the forwards leave theirs, for passes to come; ``watched``: whether the concentration is read off its
    forwards; ``token_budget``: what the step's micro-batches began with.
    """

    plan: MiniBatch
    experience: Experience
    weights: Weights
    old_BT: Tensor | None
    noted_BT: Tensor | None = None
    watched: bool = False
    token_budget: int = 1


class NonfiniteGuard:
    """Keeps the first skipped update of a row in ``bundle`` (None: nowhere) and stops the run at ``limit`` in a row.

    Raises ValueError for ``limit`` below 1.
    """

    def __init__(self, *, limit: int = 3, bundle: Path | None = None) -> None:
        if limit < 1:
            raise ValueError(f"faults.nonfinite_limit={limit} must be 1 or more updates in a row")
        self.limit, self.bundle = limit, bundle

    def note(self, update: Update, loss: float, weights: dict[str, Tensor], *, step: int, in_a_row: int) -> None:
        """Raises Diverged at the limit. ``weights``: of the model, as they are."""
        where = f"step {step}: the update is not finite (loss {loss})"
        kept = "" if self.bundle is None else f"; {self.bundle} holds weights and batch of the first in a row"
        if self.bundle is not None and in_a_row == 1:
            write_bundle(self.bundle, update, weights, step=step)
        if in_a_row >= self.limit:
            raise Diverged(
                f"{where}, number {in_a_row} in a row (faults.nonfinite_limit){kept}. The checkpoints are from before; "
                "a lower optimizer.optimizer.lr often helps"
            )
        warnings.warn(f"{where} and was skipped{kept}", stacklevel=3)


def write_bundle(path: Path, update: Update, weights: dict[str, Tensor], *, step: int) -> None:
    """Writes weights and arguments of an update as plain values, for `read_bundle`."""
    experience, normalizer = update.experience, update.plan.normalizer
    write_checkpoint(
        {
            "step": step,
            "weights": weights,
            "group_size": experience.group_size,
            "pad_id": experience.pad_id,
            "pool_rows": experience.pool_rows,
            "prompts": [
                {"ids": list(prompt.ids), "segments": {name: list(span) for name, span in prompt.segments.items()}}
                for prompt in experience.prompts
            ],
            "completion_ids": experience.completion_ids,
            "lengths": experience.lengths,
            "truncated": experience.truncated,
            "rows": update.plan.rows,
            "micro_batches": list(update.plan.micro_batches),
            "normalizer": {name: getattr(normalizer, name) for name in Normalizer.__slots__},
            "advantages": update.weights.advantages_BT,
            "mask": update.weights.mask_BT,
            "old": update.old_BT,
            "reference": update.weights.reference_BT,
        },
        path,
    )


def read_bundle(path: Path) -> tuple[dict[str, Tensor], Update]:
    """Weights to load into a module's model, and the update whose `Learner.micro_batch_loss` is not finite."""
    stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    prompts = [
        PromptTokens(tuple(prompt["ids"]), {name: (span[0], span[1]) for name, span in prompt["segments"].items()})
        for prompt in stored["prompts"]
    ]
    reasons = [FinishReason.LENGTH if cut else FinishReason.STOP for cut in stored["truncated"].tolist()]
    size = stored["group_size"]
    experience = Experience(size, stored["pad_id"])
    batch = PromptBatch(np.array(stored["pool_rows"], np.int64), [], prompts)
    experience.add(batch, Rollout(prompts, size, stored["completion_ids"], stored["lengths"], reasons), [], [], [])
    plan = MiniBatch(stored["rows"], stored["micro_batches"], Normalizer(**stored["normalizer"]))
    weights = Weights(stored["advantages"], stored["mask"], stored["reference"])
    return stored["weights"], Update(plan, experience, weights, stored["old"])
