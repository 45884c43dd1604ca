"""Writes a policy as a folder that any program which reads transformers models can load."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gainrl.models.four_bit import packed, packed_names, unpacked
from gainrl.models.lora import has_adapter
from gainrl.types import Policy


def export_policy(policy: Policy, folder: str | Path) -> None:
    """Saves model and tokenizer (chat template and stop ids included); an adapter is merged into the saved weights.

    The policy itself stays as it is: merging in place and taking the adapter out again would round its weights. Weights
    in 4 bits are saved in full, as they multiply.
    """
    model = policy.model
    whole = model.get_base_model() if has_adapter(model) else model
    state = _merged(whole) if has_adapter(model) else None
    if any(packed(weight) for weight in whole.parameters()):
        whole = _in_full(whole)
    whole.save_pretrained(str(folder), state_dict=state)
    policy.tokenizer.save_pretrained(str(folder))


def _merged(model: Any) -> dict[str, Tensor]:
    """The state of a model with its adapter added to the weights, under the names of the model without one."""
    in_four_bits = packed_names(model)
    state = {
        name.replace(".base_layer.", "."): unpacked(value).detach()
        for name, value in model.state_dict(keep_vars=True).items()
        if ".lora_" not in name and (name not in in_four_bits or packed(value))  # without the scales
    }
    for name, module in model.named_modules():
        for adapter in getattr(module, "active_adapters", ()) if hasattr(module, "get_delta_weight") else ():
            weight = state[f"{name}.weight"]
            state[f"{name}.weight"] = weight + module.get_delta_weight(adapter).to(weight)
    return state


def _in_full(model: Any) -> Any:
    """The model without memory and without a word on 4 bits in its configuration."""
    config = copy.deepcopy(model.config)
    del config.quantization_config
    with torch.device("meta"):
        full = type(model)(config)
    full.generation_config = model.generation_config
    return full.to(model.get_input_embeddings().weight.dtype)
