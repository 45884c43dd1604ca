"""Optimizer and learning-rate schedule; schedules are stepped once per optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from gainrl.training.adamw_8bit import adamw_8bit
from gainrl.training.muon import MuonWithAdamW


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimization:
    """``optimizer`` is called with the parameters, ``schedule`` (None: a constant rate) with the optimizer.

    Gradients are clipped to a norm of ``max_grad_norm``. Both are tried on a parameter of no consequence, so that
    settings that they refuse show before a model is loaded. Raises ValueError, or what they raise.
    """

    optimizer: Callable[[Iterable[Any]], Optimizer]
    schedule: Callable[[Optimizer], Any] | None = None
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        if not self.max_grad_norm > 0:
            raise ValueError(
                f"optimizer.max_grad_norm={self.max_grad_norm} must be positive; type optimizer.max_grad_norm=1.0, or "
                "1e9 for no clipping"
            )
        matrix, vector = torch.nn.Parameter(torch.zeros(1, 1)), torch.nn.Parameter(torch.zeros(1))
        self.build([matrix, vector], hidden={id(matrix)})

    def check_shards(self) -> None:
        """Raises ValueError if the optimizer cannot step tensors divided among processes (``trainer=fsdp``)."""
        made = getattr(self.optimizer, "func", self.optimizer)
        if made is MuonWithAdamW:
            raise ValueError(
                "optimizer=muon orthogonalises whole matrices and trainer=fsdp keeps parts of them; type trainer=ddp, "
                "or optimizer=adamw"
            )
        if made is adamw_8bit:
            raise ValueError(
                "optimizer=adamw_8bit needs bitsandbytes, which steps no tensor that is divided among processes, as "
                "with trainer=fsdp; type trainer=ddp, or optimizer=adamw"
            )

    def build(self, parameters: Iterable[Any], hidden: Set[int] = frozenset()) -> tuple[Optimizer, Any]:
        """The optimizer of some parameters, or groups of them, and its schedule or None.

        ``hidden``: ids of those that are matrices inside the model (`muon.hidden_matrices`), which Muon treats apart.
        """
        made = getattr(self.optimizer, "func", self.optimizer)
        more = {"hidden": hidden} if made is MuonWithAdamW else {}
        optimizer = self.optimizer(parameters, **more)
        return optimizer, None if self.schedule is None else self.schedule(optimizer)


def warmup_then_constant(optimizer: Optimizer, *, warmup_updates: int) -> LambdaLR:
    """Rises linearly over ``warmup_updates`` optimizer steps, then stays."""
    _check(warmup_updates)
    return LambdaLR(optimizer, lambda update: min(1.0, (update + 1) / (warmup_updates + 1)))


def warmup_then_cosine(
    optimizer: Optimizer, *, warmup_updates: int, total_updates: int, floor: float = 0.0
) -> LambdaLR:
    """Rises linearly, then falls along half a cosine to ``floor`` (a share of the full rate) at ``total_updates``."""
    _check(warmup_updates)
    if total_updates <= warmup_updates:
        raise ValueError(
            f"optimizer.schedule.total_updates={total_updates} must exceed warmup_updates={warmup_updates}"
        )

    def rate(update: int) -> float:
        if update < warmup_updates:
            return (update + 1) / (warmup_updates + 1)
        progress = min(1.0, (update - warmup_updates) / (total_updates - warmup_updates))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, rate)


def _check(warmup_updates: int) -> None:
    if warmup_updates < 0:
        raise ValueError(f"optimizer.schedule.warmup_updates={warmup_updates} must be 0 or more")
