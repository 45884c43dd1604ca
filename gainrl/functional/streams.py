"""Counter-based random streams: every draw is a function of (run seed, stream name, counters), of nothing else.

No generator carries state between draws, so a resumed run, a run on two processes and a run with another batch
layout draw the same numbers, and a checkpoint holds counters only.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # torch is imported where tensors are made: reports draw numbers without waiting for it
    from torch import Tensor

_GAMMA = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def stream_key(seed: int, name: str, *counters: int | str) -> int:
    """A signed 64-bit key for the stream ``name`` of run ``seed`` at the given counters."""
    text = "\x1f".join([str(int(seed)), name, *map(str, counters)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def generator(seed: int, name: str, *counters: int | str) -> np.random.Generator:
    """A fresh NumPy generator (Philox) for the stream ``name`` of run ``seed`` at the given counters."""
    key = stream_key(seed, name, *counters) & 0xFFFFFFFFFFFFFFFF
    return np.random.Generator(np.random.Philox(key=key))


def _mix(state: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014) on int64 tensors, whose products wrap around."""
    state = (state ^ _logical_shift(state, 30)) * _MIX_1
    state = (state ^ _logical_shift(state, 27)) * _MIX_2
    return state ^ _logical_shift(state, 31)


def _logical_shift(state: Tensor, bits: int) -> Tensor:
    # int64 shifts are arithmetic in torch; the mask clears the copies of the sign bit.
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def completion_keys(prompt_keys: Tensor, group_size: int, first: int = 0) -> Tensor:
    """Keys ``[P * group_size]`` of the completions of prompts with keys ``[P]``, prompt-major.

    ``first``: place in the group of the first of them, so that a later round goes on where an earlier one ended.
    """
    import torch

    members = torch.arange(first + 1, first + group_size + 1, device=prompt_keys.device, dtype=torch.int64)
    return _mix(prompt_keys[:, None] + members[None, :] * _GAMMA).reshape(-1)


def uniforms(keys: Tensor, start: int, count: int) -> Tensor:
    """Uniform float32 numbers ``[B, count]`` in [0, 1); entry ``(b, i)`` depends on ``keys[b]`` and ``start + i`` only.

    ``keys``: ``[B]`` int64.
    """
    import torch

    counters = torch.arange(start + 1, start + count + 1, device=keys.device, dtype=torch.int64)
    bits = _mix(_mix(keys)[:, None] + counters[None, :] * _GAMMA)
    # 24 bits: every value is exact in float32 and 1.0 cannot occur.
    return _logical_shift(bits, 40).to(torch.float32) * (1.0 / (1 << 24))
