"""Attention of completions to a prompt that they share and to their own tokens, without copies of the prompt.

Rows of one prompt ask the same keys, so their queries are stacked into one matrix product per prompt; a copy of the
prompt's keys and values per row would be read, or in training written and summed, once for every member of the group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Groups:
    """Which prompt each row belongs to, as places in a rectangle ``[P, G]`` (``G``: members of the largest group).

    ``places``: ``[B]`` flat places of the rows, or None where row ``b`` simply has place ``b``.
    """

    prompts: int
    size: int
    places: Tensor | None

    @classmethod
    def of(cls, prompt_of_row: Tensor, prompts: int) -> Groups:
        """``prompt_of_row``: ``[B]`` int64 in ``range(prompts)``, in any order."""
        counts = torch.bincount(prompt_of_row, minlength=prompts)
        size = int(counts.max())
        order = torch.argsort(prompt_of_row, stable=True)
        first = counts.cumsum(0) - counts
        places = torch.empty_like(prompt_of_row)
        members = torch.arange(len(order), device=order.device) - first[prompt_of_row[order]]
        places[order] = prompt_of_row[order] * size + members
        whole = len(places) == prompts * size
        if whole and bool((places == torch.arange(len(places), device=places.device)).all()):
            return cls(prompts, size, None)
        return cls(prompts, size, places)

    def stack(self, rows: Tensor) -> Tensor:
        """``[B, ...]`` to ``[P, G, ...]``; places without a row hold zeros."""
        if self.places is not None:
            full = rows.new_zeros(self.prompts * self.size, *rows.shape[1:])
            rows = full.index_copy(0, self.places, rows)
        return rows.unflatten(0, (self.prompts, self.size))

    def unstack(self, groups: Tensor) -> Tensor:
        """``[P, G, ...]`` to ``[B, ...]``, the inverse of `stack`."""
        rows = groups.flatten(0, 1)
        return rows if self.places is None else rows.index_select(0, self.places)


def decode_with_shared_prompt(
    query: Tensor,
    own: tuple[Tensor, Tensor],
    prompt: tuple[Tensor, Tensor],
    groups: Groups,
    *,
    prompt_bias: Tensor | None,
    scaling: float,
) -> Tensor:
    """Attention of the newest token of each row to its prompt and to all of the row's own tokens.

    ``query``: ``[B, H, 1, d]``; ``own``: keys and values ``[B, K, S, d]`` (``K`` divides ``H``: grouped heads);
    ``prompt``: keys and values ``[P, K, L, d]``; ``prompt_bias``: ``[P, 1, 1, L]`` added to the scores (minus
    infinity on padding), or None. Result ``[B, H, 1, d]``: ``softmax(scaling * q [prompt keys, own keys])`` times
    ``[prompt values, own values]``.
    """
    rows, heads, _, width = query.shape
    shared_heads, length = prompt[0].shape[1:3]
    repeats = heads // shared_heads
    # Heads that share keys are rows of one product, like the members of a group.
    query = query.reshape(rows, shared_heads, repeats, width) * scaling
    stacked = _stack(query, groups)  # [P, K, G * repeats, d]
    prompt_scores = stacked @ prompt[0].transpose(-1, -2)
    if prompt_bias is not None:
        prompt_scores = prompt_scores + prompt_bias
    scores = torch.cat(
        [_unstack(prompt_scores, groups, repeats), query @ own[0].transpose(-1, -2)], dim=-1
    )  # [B, K, repeats, L + S]
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    prompt_weights = _stack(weights[..., :length], groups)
    result = _unstack(prompt_weights @ prompt[1], groups, repeats) + weights[..., length:] @ own[1]
    return result.reshape(rows, heads, 1, width)


def _stack(rows: Tensor, groups: Groups) -> Tensor:
    """``[B, H, T, x]`` to ``[P, H, G * T, x]``: what a group asks of its prompt, as one matrix per head."""
    return groups.stack(rows).transpose(1, 2).flatten(2, 3)


def _unstack(stacked: Tensor, groups: Groups, per_row: int) -> Tensor:
    """``[P, H, G * T, x]`` to ``[B, H, T, x]`` with ``T = per_row``, the inverse of `_stack`."""
    return groups.unstack(stacked.unflatten(2, (groups.size, per_row)).transpose(1, 2))


def causal_with_shared_prompt(
    query: Tensor,
    own: tuple[Tensor, Tensor],
    prompt: tuple[Tensor, Tensor],
    groups: Groups,
    *,
    prompt_bias: Tensor | None,
    scaling: float,
) -> Tensor:
    """Attention of every token of each row to its prompt and to the row's own tokens up to itself, with gradients.

    ``query``: ``[B, H, T, d]``; ``own``: ``[B, K, T, d]``; the rest and the result as in `decode_with_shared_prompt`.
    The two parts go through the processor's fused kernel one after the other and are merged by their log-sum-exps,
    so that neither scores nor copies of the prompt exist. Needs `has_fused_kernel`.
    """
    repeats = query.shape[1] // own[0].shape[1]
    keys, values, prompt_keys, prompt_values = (
        block if repeats == 1 else block.repeat_interleave(repeats, dim=1) for block in (*own, *prompt)
    )
    return _CausalWithSharedPrompt.apply(query, keys, values, prompt_keys, prompt_values, groups, prompt_bias, scaling)


class PromptBlocks(Protocol):
    """What the layers of a model need of shared prompts.

    ``blocks``: per layer, keys and values ``[P, K, L, d]``; ``groups``: which prompt each row belongs to; ``bias``:
    ``[P, 1, 1, L]``, minus infinity on padding, or None.
    """

    @property
    def blocks(self) -> Sequence[tuple[Tensor, Tensor]]: ...
    @property
    def groups(self) -> Groups: ...
    @property
    def bias(self) -> Tensor | None: ...


def layer_attention(attend: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, None]]:
    """`decode_with_shared_prompt` or `causal_with_shared_prompt` as the function that a transformers layer calls.

    The function takes the layer, ``query`` ``[B, H, T, d]``, the rows' own ``key`` and ``value``, and `PromptBlocks` as
    the keyword ``shared_prompts`` of the model's forward; it returns ``[B, T, H, d]``.
    """

    def of_layer(
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        *,
        scaling: float | None = None,
        shared_prompts: PromptBlocks,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        result = attend(
            query,
            (key, value),
            shared_prompts.blocks[module.layer_idx],
            shared_prompts.groups,
            prompt_bias=shared_prompts.bias,
            scaling=query.shape[-1] ** -0.5 if scaling is None else scaling,
        )
        return result.transpose(1, 2), None

    return of_layer


def has_fused_kernel(tensor: Tensor) -> bool:
    """Whether `causal_with_shared_prompt` can run on the device and in the precision of ``tensor``."""
    return (
        tensor.device.type == "cpu"
        and tensor.dtype in (torch.float32, torch.float64, torch.bfloat16)
        and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward")
    )


class _CausalWithSharedPrompt(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        prompt_keys: Tensor,
        prompt_values: Tensor,
        groups: Groups,
        bias: Tensor | None,
        scaling: float,
    ) -> Tensor:
        attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        stacked = _stack(query, groups)
        on_prompt, lse_prompt = attend(stacked, prompt_keys, prompt_values, 0.0, False, attn_mask=bias, scale=scaling)
        on_own, lse_own = attend(query, keys, values, 0.0, True, scale=scaling)
        tokens = query.shape[2]
        on_prompt = _unstack(on_prompt, groups, tokens)
        lse_prompt = _unstack(lse_prompt[..., None], groups, tokens)
        lse_own = lse_own[..., None]
        # exp(lse_prompt) / (exp(lse_prompt) + exp(lse_own)): the share of attention that the prompt gets.
        share = torch.sigmoid(lse_prompt - lse_own).to(query.dtype)
        result = torch.lerp(on_own, on_prompt, share)
        lse = torch.logaddexp(lse_prompt, lse_own).squeeze(-1)
        ctx.save_for_backward(query, keys, values, prompt_keys, prompt_values, bias, result, lse)
        ctx.settings = (groups, scaling)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        query, keys, values, prompt_keys, prompt_values, bias, result, lse = ctx.saved_tensors
        groups, scaling = ctx.settings
        # The kernel rebuilds probabilities as exp(score - lse): with the lse of both parts they are those of the whole.
        backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        grad_query, grad_keys, grad_values = backward(grad, query, keys, values, result, lse, 0.0, True, scale=scaling)
        stacked_grad, stacked_query, stacked_result, stacked_lse = (
            _stack(rows, groups) for rows in (grad, query, result, lse[..., None])
        )
        grad_stacked, grad_prompt_keys, grad_prompt_values = backward(
            stacked_grad,
            stacked_query,
            prompt_keys,
            prompt_values,
            stacked_result,
            stacked_lse.squeeze(-1),
            0.0,
            False,
            attn_mask=bias,
            scale=scaling,
        )
        grad_query = grad_query + _unstack(grad_stacked, groups, query.shape[2])
        return grad_query, grad_keys, grad_values, grad_prompt_keys, grad_prompt_values, None, None, None
