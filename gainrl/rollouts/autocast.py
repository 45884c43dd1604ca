"""Decoding in the precision of autocast without its price: weights are cast once per rollout, not once per token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The precision in which autocast runs matrix products on a device, None where it is off."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


def as_autocast(tensor: Tensor) -> Tensor:
    """``tensor`` in the precision in which autocast will read it; itself where autocast is off."""
    dtype = autocast_dtype(tensor.device)
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)


@contextmanager
def weights_cast_once(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside, the linear layers hold their weights in autocast's precision; outside they are what they were.

    The products are the same bit for bit, since autocast casts these weights itself, at every call. What autocast
    leaves in float32 (embeddings, norms) stays so, also where an output layer is tied to the embeddings. Without
    autocast this does nothing. Forwards inside must not need gradients.
    """
    dtype = autocast_dtype(device)
    held: list[tuple[nn.Module, str, nn.Parameter]] = []
    try:
        if dtype is not None:
            with torch.no_grad():
                for module in model.modules():
                    if isinstance(module, nn.Linear):
                        for name, weight in module._parameters.items():
                            if weight is not None and weight.dtype == torch.float32:
                                held.append((module, name, weight))
                for module, name, weight in held:
                    module._parameters[name] = nn.Parameter(weight.to(dtype), requires_grad=False)
        yield
    finally:
        for module, name, weight in held:
            module._parameters[name] = weight
