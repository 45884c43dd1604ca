"""How long a step would take if it were nothing but large matrix products."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from benchmarks.step import StepSettings, model_of
from benchmarks.workload import weights_of


@dataclass(frozen=True, slots=True)
class Floor:
    """``operations`` counts a multiply-add as two; ``per_second``: those of a large matrix product on this machine."""

    operations: float
    per_second: float

    @property
    def seconds(self) -> float:
        return self.operations / self.per_second


def product_speed(size: int = 1024, repeats: int = 9) -> float:
    """Operations per second of a ``size`` x ``size`` product in float32 with the current number of threads."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds[2:])


def step_floor(settings: StepSettings) -> Floor:
    """Every prompt once and every completion token once: forward to sample, forward and twice that back to learn.

    With ``beta > 0`` the reference adds a forward. Groups without a gradient (half of them with ``half_constant``) are
    sampled only. Attention's products are included.
    """
    with torch.device("meta"):  # its sizes are enough
        model = model_of(settings)
    config = model.config
    decoder, head = weights_of(model)
    prompt_tokens = settings.prompts * settings.prompt_length
    completion_tokens = settings.prompts * settings.group_size * settings.completion_length
    seen = settings.prompt_length + settings.completion_length / 2
    attention = 2 * config.num_hidden_layers * config.hidden_size
    forward = (
        decoder * (prompt_tokens + completion_tokens)
        + head * completion_tokens
        + attention * (completion_tokens * seen + prompt_tokens * settings.prompt_length / 2)
    )
    learning = (0.5 if settings.half_constant else 1.0) * (3 * settings.inner_epochs + (settings.beta > 0))
    return Floor(2 * forward * (1 + learning), product_speed())
