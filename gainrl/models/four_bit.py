"""Frozen weights in 4 bits below a LoRA adapter: QLoRA (Dettmers et al. 2023, arXiv 2305.14314), through bitsandbytes.

Linear layers but the output head are kept in NF4, the 4-bit code whose levels are the quantiles of a normal
distribution, with one scale for every 64 weights, itself in 8 bits (double quantization). Each layer gets its weights
back in full for its own products only. The rounding is part of the policy: rollouts, updates, signals and evaluations
all read the same rounded weights, and so do vLLM and an exported policy, which get them in full with the adapter added.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


def four_bit_settings(compute: Any) -> Any:
    """How transformers loads a model with its linear layers in NF4.

    ``compute``: the dtype of their products, float32 for ``auto``. Raises ValueError if a library that it needs is not
    installed.
    """
    try:
        import bitsandbytes  # noqa: F401
        import peft  # noqa: F401  (which brings accelerate)
        from transformers import BitsAndBytesConfig
    except ImportError as fault:
        raise ValueError(
            "model.load_in_4bit=true needs bitsandbytes and peft: pip install 'gainrl[bitsandbytes,lora]', or type "
            "model.load_in_4bit=false"
        ) from fault
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32 if compute == "auto" else compute,
    )


def keep_kernels_equal(model: nn.Module) -> None:
    """Leaves out a kernel of processors with AVX512-BF16, which repacks weights and multiplies them in bfloat16.

    It runs without gradients only, so that rollouts would come from another policy than the one that is updated.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def packed(weight: Tensor) -> bool:
    """Whether a parameter holds two weights in each of its bytes."""
    return hasattr(weight, "quant_state") and not weight.is_floating_point()


def packed_names(model: nn.Module) -> set[str]:
    """Names in a model's state of packed weights and of their scales, which no `load_state_dict` takes back."""
    own = [name for name, weight in model.named_parameters(remove_duplicate=False) if packed(weight)]
    if not own:
        return set()
    behind = tuple(f"{name}." for name in own)
    return {*own, *(name for name in model.state_dict() if name.startswith(behind))}


def unpacked(weight: Any) -> Tensor:
    """The weight as it multiplies: ``[out, in]`` in the precision of products where it is packed, else itself."""
    if not packed(weight):
        return weight
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight

    return dequantize_bnb_weight(weight, state=weight.quant_state)


def count(weight: Tensor) -> int:
    """Numbers that a parameter stands for."""
    return 2 * weight.numel() if packed(weight) else weight.numel()


def mark_packable(model: Any) -> None:
    """Marks the layers of a model without memory whose weights would be packed: linear ones but the head."""
    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, nn.Linear) and module is not head:
            module.will_be_packed = True  # type: ignore[assignment]


def has_transposed_layers(model: nn.Module) -> bool:
    """Whether layers keep their weights as ``[in, out]``, as those of GPT-2: packed, they would be saved transposed."""
    return any(isinstance(module, Conv1D) for module in model.modules())


def in_four_bits(model: nn.Module) -> list[Tensor]:
    """The weights of a model that are packed, or will be (`mark_packable`)."""
    marked = [module.weight for module in model.modules() if getattr(module, "will_be_packed", False)]
    return marked or [weight for weight in model.parameters() if packed(weight)]  # type: ignore[return-value]
