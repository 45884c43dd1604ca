"""Weights in bfloat16 that run, beside float32 weights that train (``trainer.precision=bf16-master``).

A step of AdamW is often smaller than half of the distance between two neighbouring numbers in bfloat16, so that weights
kept in bfloat16 alone would not move. Here optimizer and gradient sums are in float32, on master weights, and the model
holds their roundings: forward, backward, rollouts, evaluation and signals all run in bfloat16, without autocast. That
takes half the memory of activations; weights take 6 bytes each in place of 4, and gradients as before.

In shards nothing of this is needed: the shards are the masters, and what is gathered of them is in bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

import torch
from torch import Tensor, nn


class Masters:
    """The float32 weights behind the parameters of ``model`` that train; lowers the model to ``dtype``."""

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
        self.pairs = [
            (low, nn.Parameter(low.detach().float().clone())) for low in model.parameters() if low.requires_grad
        ]
        lower(model, dtype)

    def parameters(self) -> Iterator[nn.Parameter]:
        return (master for _, master in self.pairs)

    def of(self, weights: Set[int]) -> set[int]:
        """The ids of the masters behind the weights of the model with these ids."""
        return {id(master) for low, master in self.pairs if id(low) in weights}

    def named(self, model: nn.Module) -> dict[str, Tensor]:
        """The masters under the names that the model's state has for them, tied ones under each of theirs."""
        known = {id(low): master.detach() for low, master in self.pairs}
        state = model.state_dict(keep_vars=True)
        return {name: known[id(value)] for name, value in state.items() if id(value) in known}

    def take_gradients(self) -> None:
        """Adds the model's gradients to those of the masters, and lets go of them."""
        for low, master in self.pairs:
            if low.grad is not None:
                gradient = low.grad.float()
                master.grad = gradient if master.grad is None else master.grad.add_(gradient)
                low.grad = None

    @torch.no_grad()
    def round(self) -> None:
        """Gives the model the masters' values, rounded."""
        for low, master in self.pairs:
            low.copy_(master)

    def put_back(self) -> None:
        """Leaves the masters themselves in the model, for what is exported."""
        for low, master in self.pairs:
            low.data = master.data


def lower(model: nn.Module, dtype: torch.dtype) -> None:
    """Rounds all parameters of a model to ``dtype``, in place. Buffers (rotary frequencies) stay as they are."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
