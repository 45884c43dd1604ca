"""How Lightning runs the processes of one run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

from gainrl.training.distributed.ranks import Ranks

StrategyName = Literal["single", "ddp", "fsdp"]


class SummingStrategy(DDPStrategy):
    """Several processes with a whole model each, and without the wrapper of DistributedDataParallel.

    The wrapper averages gradients inside every backward; a step has many backward passes, and ranks differ in how many.
    Here the module adds up the gradients of a mini-batch once (`training.distributed.ranks.Ranks.sum_gradients`).
    """

    def configure_ddp(self) -> None: ...


def strategy_of(name: StrategyName, ranks: Ranks, *, timeout_minutes: float) -> Any:
    """What ``lightning.Trainer(strategy=...)`` takes; ``timeout_minutes``: how long a rank waits for the others."""
    timeout = timedelta(minutes=timeout_minutes)
    if name == "single":
        return "auto"
    if name == "fsdp":
        return ModelParallelStrategy(data_parallel_size=ranks.size, tensor_parallel_size=1, timeout=timeout)
    return SummingStrategy(timeout=timeout)
