"""What the ranks have computed of one optimizer step, put together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from gainrl.functional.objectives import add_sums
from gainrl.training.nonfinite import Update
from gainrl.training.ranks import Ranks
from gainrl.training.sharding import is_sharded, undo_average


def sum_over_ranks(
    sums: dict[str, Any], loss: float, module: nn.Module, model: nn.Module, ranks: Ranks
) -> tuple[dict[str, Any], float]:
    """Additive sums and loss of all ranks, equal everywhere; adds up the gradients of ``module`` in place.

    ``model``: its part that may be in shards.
    """
    if ranks.size == 1:
        return sums, loss
    if is_sharded(model):
        undo_average(model, ranks)
    ranks.sum_gradients(module.parameters())
    parts = ranks.gather(({name: value.cpu() for name, value in sums.items()}, loss))
    total: dict[str, Any] = {}
    for part, _ in parts:
        total = add_sums(total, part)
    return total, sum(part for _, part in parts)


def with_all_micro_batches(update: Update, ranks: Ranks) -> Update:
    """The update with the micro-batches of all ranks, for who computes it again alone."""
    if ranks.size == 1:
        return update
    micro = [rows for part in ranks.gather(update.plan.micro_batches) for rows in part]
    old_BT = None if update.old_BT is None else ranks.sum(update.old_BT.clone())
    return replace(update, plan=replace(update.plan, micro_batches=micro), old_BT=old_BT)
