"""Whether products in bfloat16 are worth it on this machine: asked of the processor, then measured.

Only hardware for bfloat16 makes it fast: without (AVX2, AVX-512 without BF16) PyTorch converts on the way and is slower
than in float32.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import torch

Precision = Literal["32-true", "bf16-mixed"]
_TOKENS, _WIDTH, _INNER = 512, 576, 1536  # of the layer that is timed: SmolLM2-135M's
_WORTH = 1.1  # how much faster bfloat16 must be, so that noise does not choose it


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """What to train with, and why."""

    precision: Precision
    reason: str

    def __str__(self) -> str:
        return f"{self.precision} ({self.reason})"


def has_bfloat16(*, cuda: bool) -> bool:
    """Whether the GPU that training will use, or else the processor, multiplies bfloat16 in hardware."""
    if cuda:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # private to PyTorch, hence the default
    return any(getattr(torch.cpu, name, bool)() for name in names)


def choose_precision(*, cuda: bool, seconds: float = 0.4) -> PrecisionChoice:
    """bf16-mixed where the hardware has it and, on a processor, a layer's pass is faster with it; else float32."""
    if cuda:
        if has_bfloat16(cuda=True):
            return PrecisionChoice("bf16-mixed", "the GPU has bfloat16")
        return PrecisionChoice("32-true", "the GPU has no bfloat16")
    if not has_bfloat16(cuda=False):
        return PrecisionChoice("32-true", "this processor has no bfloat16: neither AMX nor AVX512-BF16")
    full, mixed = (_layer_seconds(mixed=each, seconds=seconds) for each in (False, True))
    tried = f"a layer's pass took {1000 * full:.1f} ms in float32, {1000 * mixed:.1f} ms in bfloat16"
    return PrecisionChoice("bf16-mixed" if mixed * _WORTH < full else "32-true", tried)


def _layer_seconds(*, mixed: bool, seconds: float) -> float:
    """The fastest forward and backward pass of a gated layer within ``seconds``."""
    up, gate, down = (torch.ones(rows, columns, requires_grad=True) for rows, columns in _SHAPES)
    tokens = torch.ones(_TOKENS, _WIDTH)
    best, begun = float("inf"), time.perf_counter()
    while True:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            inner = torch.nn.functional.silu(torch.nn.functional.linear(tokens, gate))
            out = torch.nn.functional.linear(inner * torch.nn.functional.linear(tokens, up), down)
        out.float().sum().backward()
        now = time.perf_counter()
        best = min(best, now - start)
        if now - begun >= seconds:
            return best


_SHAPES = ((_INNER, _WIDTH), (_INNER, _WIDTH), (_WIDTH, _INNER))
