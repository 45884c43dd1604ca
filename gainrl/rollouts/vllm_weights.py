"""The weights of a policy under the names of its checkpoint, whole, with LoRA adapters merged on the way out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def policy_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of all weights; an output layer that is tied to the embeddings comes under its own name too.

    A layer with adapters gives ``W + sum of its active adapters' deltas``, added in a new tensor: merging in place and
    back would leave the frozen weights rounded differently after every rollout. Weights in shards are put together one
    at a time, in this order, and every rank must go through all of them.
    """
    for name, tensor in _parts(model):
        yield name, tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _parts(model: Any) -> Iterator[tuple[str, Tensor]]:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    adapted = {name: module for name, module in base.named_modules() if hasattr(module, "get_delta_weight")}
    head = base.get_output_embeddings()
    if head is not None and head.weight is base.get_input_embeddings().weight:
        yield "lm_head.weight", head.weight.detach()
    for name, parameter in base.named_parameters():
        owner, _, rest = name.rpartition(".base_layer.")
        if owner in adapted:
            weight = _in_full(parameter).detach()
            yield f"{owner}.{rest}", _merged(adapted[owner], weight) if rest == "weight" else weight
        elif not any(name.startswith(f"{adapter}.") for adapter in adapted):
            yield name, _in_full(parameter).detach()


def _in_full(weight: Any) -> Tensor:
    """A weight as it multiplies, where the model keeps it in 4 bits."""
    state = getattr(weight, "quant_state", None)
    if state is None or weight.is_floating_point():
        return weight
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight

    return dequantize_bnb_weight(weight, state=state)


def _merged(layer: Any, weight: Tensor) -> Tensor:
    if layer.disable_adapters or layer.merged:
        return weight
    for adapter in layer.active_adapters:
        if adapter in layer.lora_A or adapter in getattr(layer, "lora_embedding_A", {}):
            weight = weight + layer.get_delta_weight(adapter).to(weight.dtype)
    return weight
