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
from gainrl.training.advantages import TokenAdvantages
from gainrl.training.batching import MiniBatch
from gainrl.training.collection import Experience
from gainrl.training.critic import Estimates
from gainrl.training.update import Update
from gainrl.training.upkeep.checkpoints import write_checkpoint
from gainrl.types import FinishReason, PromptBatch, PromptTokens, Rollout


class Diverged(RuntimeError):
    """Too many updates in a row were not finite."""


class NonfiniteGuard:
    """Keeps the first skipped update of a row in ``bundle`` (None: nowhere) and stops the run at ``limit`` in a row.

    Raises ValueError for ``limit`` below 1.
    """

    def __init__(self, *, limit: int = 3, bundle: Path | None = None) -> None:
        if limit < 1:
            raise ValueError(f"faults.nonfinite_limit={limit} must be 1 or more updates in a row")
        self.limit, self.bundle = limit, bundle

    def note(
        self,
        update: Update,
        loss: float,
        weights: dict[str, Tensor],
        critic: dict[str, Tensor] | None = None,
        *,
        step: int,
        in_a_row: int,
    ) -> None:
        """Raises Diverged at the limit. ``weights`` and ``critic``: of the model and of the critic, as they are."""
        where = f"step {step}: the update is not finite (loss {loss})"
        kept = "" if self.bundle is None else f"; {self.bundle} holds weights and batch of the first in a row"
        if self.bundle is not None and in_a_row == 1:
            write_bundle(self.bundle, update, weights, critic, step=step)
        if in_a_row >= self.limit:
            raise Diverged(
                f"{where}, number {in_a_row} in a row (faults.nonfinite_limit){kept}. The checkpoints are from before; "
                "a lower optimizer.optimizer.lr often helps"
            )
        warnings.warn(f"{where} and was skipped{kept}", stacklevel=3)


@dataclass(frozen=True, slots=True)
class Bundle:
    """An update of ``step`` that was skipped, and what it was computed with.

    ``weights`` and ``critic`` (None without one) go into the model and the critic of a module of the same
    configuration (``strict=False`` for a model in 4 bits, whose frozen weights are left out); its
    `Learner.micro_batch_loss` of the ``update``'s micro-batches then adds up to the same loss.
    """

    step: int
    weights: dict[str, Tensor]
    critic: dict[str, Tensor] | None
    update: Update


def write_bundle(
    path: Path, update: Update, weights: dict[str, Tensor], critic: dict[str, Tensor] | None = None, *, step: int
) -> None:
    """Writes weights and arguments of an update as plain values, for `read_bundle`."""
    experience, normalizer, estimates = update.experience, update.plan.normalizer, update.advantages.estimates
    write_checkpoint(
        {
            "step": step,
            "weights": weights,
            "critic": critic,
            "group_size": experience.group_size,
            "sizes": list(experience.sizes),
            "pad_id": experience.pad_id,
            "pool_rows": experience.pool_rows,
            "prompts": [
                {"ids": list(prompt.ids), "segments": {name: list(span) for name, span in prompt.segments.items()}}
                for prompt in experience.prompts
            ],
            "completion_ids": experience.completion_ids,
            "lengths": experience.lengths,
            "truncated": experience.truncated,
            "engine": experience.engine_logprobs,
            "stored": experience.stored_logprobs,
            "rows": update.plan.rows,
            "micro_batches": list(update.plan.micro_batches),
            "normalizer": {name: getattr(normalizer, name) for name in Normalizer.__slots__},
            "advantages": update.advantages.advantages_BT,
            "mask": update.advantages.mask_BT,
            "old": update.old_BT,
            "reference": update.advantages.reference_BT,
            "estimates": None
            if estimates is None
            else {name: getattr(estimates, name) for name in Estimates.__slots__},
        },
        path,
    )


def read_bundle(path: Path) -> Bundle:
    """The first update of a row that was skipped, from ``faults/nonfinite.pt`` of its run directory."""
    stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    prompts = [
        PromptTokens(tuple(prompt["ids"]), {name: (span[0], span[1]) for name, span in prompt["segments"].items()})
        for prompt in stored["prompts"]
    ]
    reasons = [FinishReason.LENGTH if cut else FinishReason.STOP for cut in stored["truncated"].tolist()]
    size = stored["group_size"]
    experience = Experience(size, stored["pad_id"])
    batch = PromptBatch(np.array(stored["pool_rows"], np.int64), [], prompts)
    rollout = Rollout(
        prompts,
        size,
        stored["completion_ids"],
        stored["lengths"],
        reasons,
        stored["engine"],
        sizes=[int(one) for one in stored["sizes"]],
    )
    experience.add(batch, rollout, [], [], [])
    experience.stored_logprobs = stored["stored"]
    plan = MiniBatch(stored["rows"], stored["micro_batches"], Normalizer(**stored["normalizer"]))
    estimates = None if stored["estimates"] is None else Estimates(**stored["estimates"])
    advantages = TokenAdvantages(stored["advantages"], stored["mask"], stored["reference"], estimates)
    update = Update(plan, experience, advantages, stored["old"])
    return Bundle(stored["step"], stored["weights"], stored["critic"], update)
