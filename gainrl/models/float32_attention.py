"""Attention in float32 on a GPU, for models whose query heads share keys and values.

PyTorch's flash kernel takes half precisions only, and its memory-saving kernel for float32 knows no groups of heads. A
model of transformers asks for groups wherever there is no mask, and would get the plain products: ``[B, H, T, T]``
floats in every layer. Importing this module repeats the keys and values there, which takes ``[B, H, T, d]``.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward


def attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **named: Any
) -> tuple[Tensor, None]:
    """As transformers' own function for ``sdpa``. ``query``: ``[B, H, T, d]``; ``key`` and ``value``: ``[B, K, T, d]``.

    With a mask transformers repeats the heads itself.
    """
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1 and attention_mask is None and query.dtype == torch.float32 and query.device.type != "cpu":
        key, value = (heads.repeat_interleave(repeats, dim=1) for heads in (key, value))
        module = SimpleNamespace(is_causal=getattr(module, "is_causal", True))  # which says nothing of groups
    return sdpa_attention_forward(module, query, key, value, attention_mask, **named)


AttentionInterface.register("sdpa", attention)
