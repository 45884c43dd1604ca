"""Optimizer and learning-rate schedule; schedules are stepped once per optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from gainrl.training.muon import MuonWithAdamW, hidden_matrices


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
        self.build([torch.nn.Parameter(torch.zeros(1))])

    def build(self, parameters: Iterable[Any], model: torch.nn.Module | None = None) -> tuple[Optimizer, Any]:
        """The optimizer of some parameters, or groups of them, and its schedule or None.

        ``model``: whose parameters they are, for an optimizer that treats its inner matrices apart.
        """
        made = getattr(self.optimizer, "func", self.optimizer)
        more = {"hidden": hidden_matrices(model)} if made is MuonWithAdamW and model is not None else {}
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
