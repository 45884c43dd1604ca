"""Running a decoder over completions whose prompts ran before, once each, with gradients through both.

Two forms, chosen by `shared_form`: *fused*, where every layer's attention reads the prompt's keys and values in place
(`functional.grouped_attention`), and *copied*, where each row gets a copy of them as the past of an ordinary forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from gainrl.functional.grouped_attention import Groups, causal_with_shared_prompt, has_fused_kernel, layer_attention

SharedForm = Literal["fused", "copied"]


def shared_form(model: Any, total_length: int) -> SharedForm | None:
    """How prompts can be shared in texts of up to ``total_length`` tokens; None where each row must run in full.

    They cannot be with recurrent states, with a sliding window shorter than the text, or while gradient checkpointing
    is on, which has no cache.
    """
    if model.training and any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        return None
    layers = DynamicCache(config=model.config).layers
    if not layers or not all(
        type(layer) is DynamicLayer
        or (type(layer) is DynamicSlidingWindowLayer and total_length <= layer.sliding_window)
        for layer in layers
    ):
        return None
    config = model.config.get_text_config()
    dropout = max(getattr(config, name, None) or 0.0 for name in ("attention_dropout", "attn_pdrop"))
    ordinary = (
        getattr(model, "_supports_attention_backend", False)
        and config._attn_implementation == "sdpa"
        and getattr(config, "attn_logit_softcapping", None) is None
        and not any(hasattr(module, "sinks") for module in model.modules())
        and not (model.training and dropout > 0)
        and has_fused_kernel(next(model.parameters()))
        and not torch.is_autocast_enabled("cpu")
    )
    return "fused" if ordinary else "copied"


@dataclass(slots=True)
class PromptStates:
    """Keys and values of ``P`` right-padded prompts, per layer, with their graph; ``sizes``: ``[P]`` real tokens."""

    blocks: list[tuple[Tensor, Tensor]]
    sizes: Tensor
    columns: int


def run_prompts(model: Any, decoder: Any, tokens: Tensor, sizes: Tensor) -> tuple[Tensor, PromptStates]:
    """Hidden states ``[P, L, D]`` of right-padded prompts ``[P, L]``, and what completions need of them."""
    layers = [_Recorded() for _ in DynamicCache(config=model.config).layers]
    # Right padding and causal attention: no real token sees a padded one, so no mask is needed.
    hidden = decoder(input_ids=tokens, past_key_values=Cache(layers=list(layers)), use_cache=True).last_hidden_state
    return hidden, PromptStates([layer.block() for layer in layers], sizes, tokens.shape[1])


def run_completions(
    model: Any, decoder: Any, states: PromptStates, prompt_of_row: Tensor, ids: Tensor, form: SharedForm
) -> Tensor:
    """Hidden states ``[R, T, D]`` of right-padded completion tokens ``[R, T]`` after their prompts."""
    sizes = states.sizes[prompt_of_row]
    positions = sizes[:, None] + torch.arange(ids.shape[1], device=ids.device)[None, :]
    seen = torch.arange(states.columns, device=ids.device)[None, :] < states.sizes[:, None]
    if form == "copied":
        layers = []
        for keys, values in states.blocks:
            layer = DynamicLayer()
            layer.update(keys.index_select(0, prompt_of_row), values.index_select(0, prompt_of_row))
            layers.append(layer)
        mask = torch.cat([seen[prompt_of_row], seen.new_ones(ids.shape)], dim=1).long()
        return decoder(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=Cache(layers=list(layers)),
            use_cache=True,
        ).last_hidden_state
    bias = None
    if not bool(seen.all()):
        bias = torch.zeros(seen.shape, dtype=states.blocks[0][0].dtype, device=ids.device)
        bias = bias.masked_fill_(~seen, -torch.inf)[:, None, None, :]
    shared = _Shared(states.blocks, Groups.of(prompt_of_row, len(states.sizes)), bias)
    config = model.config
    usual = config._attn_implementation
    config._attn_implementation = _ATTENTION
    try:
        return decoder(input_ids=ids, position_ids=positions, use_cache=False, shared_prompts=shared).last_hidden_state
    finally:
        config._attn_implementation = usual


class _Recorded(DynamicLayer):
    """Keeps the keys and values of one forward as they are, without a copy."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        self.lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states, value_states
        return key_states, value_states

    def block(self) -> tuple[Tensor, Tensor]:
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values


@dataclass(slots=True)
class _Shared:
    blocks: list[tuple[Tensor, Tensor]]
    groups: Groups
    bias: Tensor | None


_ATTENTION = "gainrl_training_shared_prompts"
AttentionInterface.register(_ATTENTION, layer_attention(causal_with_shared_prompt))


def _plain_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **named: Any
) -> tuple[Tensor, None]:
    """transformers' own function for ``sdpa``, with the heads of keys and values repeated for float32 on a GPU.

    ``query``: ``[B, H, T, d]``; ``key`` and ``value``: ``[B, K, T, d]``. PyTorch's flash kernel takes half precisions
    only, and its memory-saving kernel for float32 knows no groups of heads. transformers asks for groups wherever there
    is no mask, and would get the plain products: ``[B, H, T, T]`` floats in every layer.
    """
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1 and attention_mask is None and query.dtype == torch.float32 and query.device.type != "cpu":
        key, value = (heads.repeat_interleave(repeats, dim=1) for heads in (key, value))
        module = SimpleNamespace(is_causal=getattr(module, "is_causal", True))  # which says nothing of groups
    return sdpa_attention_forward(module, query, key, value, attention_mask, **named)


AttentionInterface.register("sdpa", _plain_attention)
