"""Rollouts with the training weights themselves, on any causal language model of transformers.

What makes it faster than ``model.generate``: the tokens that all prompts begin with run once per version of the
weights, over all calls; each distinct prompt runs once, for all members of its group; rows that have finished leave the
batch; a decoding step writes one column of a preallocated cache; sampling is a handful of operations on ``[rows, V]``.

Draws are made by inverting the cumulative distribution at a uniform number that depends on the prompt's key, the place
in the group and the position only. Completions are thus the same for any batching and order of the prompts, up to the
rounding with which the model's own kernels depend on the batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicCache

from gainrl.functional.memory import out_of_memory, release_cached_memory
from gainrl.functional.streams import completion_keys
from gainrl.rollouts.caches import (
    FilledPrompts,
    PrefixCache,
    autocast_dtype,
    can_share,
    expand_rows,
    growing_cache,
    shared_prefix,
)
from gainrl.rollouts.sampling import Decoded, check_request, decode
from gainrl.types import FinishReason, Policy, PromptTokens, Rollout, SamplingParams


class HFEngine:
    """The `RolloutEngine` that decodes with ``policy.model``, in its own precision and on its own device.

    ``max_batch_size``: completions that decode at the same time (a group is never split, so at least ``group_size``).
    Where they do not fit into memory, half as many decode at a time from then on.
    ``share_prefix``: whether the prompts' common prefix is computed once; models with a sliding window shorter than
    the text or with a recurrent state go without it, with a warning. Raises ValueError for arguments out of range.
    """

    decodes_mixed = True  # a greedy completion beside others of its prompt

    def __init__(self, *, max_batch_size: int = 512, share_prefix: bool = True) -> None:
        if max_batch_size < 1:
            raise ValueError(f"max_batch_size={max_batch_size}: completions decoded together; give 1 or more")
        self.max_batch_size = max_batch_size
        self.share_prefix = share_prefix
        self._warned: set[str] = set()
        self._prefixes = PrefixCache()
        self._fits: int | None = None  # completions at a time, where more have run out of memory

    def generate(
        self, policy: Policy, prompts: Sequence[PromptTokens], sampling: SamplingParams, keys: Tensor
    ) -> Rollout:
        """Draws ``group_size`` completions per prompt; see `RolloutEngine.generate` and `sampling.draw_tokens`."""
        check_request(prompts, sampling, keys, mixed=True)
        model, device = policy.model, policy.device
        group_size = sampling.group_size
        longest = max(len(prompt) for prompt in prompts)
        sharing = self.share_prefix
        if sharing and not can_share(model, longest + sampling.max_new_tokens):
            self._warn_once(type(model).__name__)
            sharing = False
        first = sampling.first - sampling.greedy_first  # a greedy completion draws nothing
        row_keys = completion_keys(keys.to(device), group_size, first).view(len(prompts), group_size)
        parts: list[Decoded] = []
        version = policy.version  # before the weights are swapped for others
        with generation_mode(model), weights_cast_once(model, device):
            prefix = _Prefix.of(self._prefixes, policy, prompts, version) if sharing else _Prefix(0, None, shared=False)
            # Longest first: the batch that needs most memory is the first to run.
            order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]), reverse=True)
            start = 0
            while start < len(order):
                together = min(self.max_batch_size, self._fits or self.max_batch_size)
                chosen = order[start : start + max(1, together // group_size)]
                batch_keys = row_keys[torch.tensor(chosen, device=device)].reshape(-1)
                ids = [prompts[index].ids for index in chosen]
                try:
                    parts.append(decode(policy, prefix.fill(policy, ids), sampling, batch_keys))
                    start += len(chosen)
                    continue
                except (RuntimeError, MemoryError) as fault:
                    if not out_of_memory(fault) or len(chosen) == 1:
                        raise
                # Outside the handler, whose traceback keeps the tensors of the failed attempt alive.
                self._halve(len(chosen), group_size)
        return _assemble(list(prompts), group_size, order, parts)

    def _halve(self, prompts: int, group_size: int) -> None:
        """After ``prompts`` groups together ran out of memory. Draws do not depend on the batch, nor do completions."""
        self._fits = -(-prompts // 2) * group_size
        release_cached_memory()
        warnings.warn(
            f"out of memory in a rollout of {prompts * group_size} completions; from now on "
            f"rollout.engine.max_batch_size={self._fits}",
            stacklevel=3,
        )

    def _warn_once(self, name: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            warnings.warn(
                f"{name} has a sliding window or a recurrent state: rollouts run each prompt in full instead of "
                "computing the common prefix once. Set share_prefix=false to silence this.",
                stacklevel=3,
            )


@contextmanager
def generation_mode(model: Any) -> Iterator[None]:
    """No gradients and evaluation mode inside; every submodule gets its own mode back afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


@dataclass(slots=True)
class _Prefix:
    """Tokens that all prompts begin with, and their keys and values (None where nothing is shared)."""

    length: int
    cache: Cache | None
    shared: bool

    @classmethod
    def of(cls, prefixes: PrefixCache, policy: Policy, prompts: Sequence[PromptTokens], version: int) -> _Prefix:
        ids = shared_prefix(prompts)
        return cls(len(ids), prefixes.filled(policy, ids, version), shared=True)

    def fill(self, policy: Policy, prompts: list[tuple[int, ...]]) -> FilledPrompts:
        """Runs what follows the prefix, left-padded: columns are prefix, padding, rest of the prompt."""
        model, device = policy.model, policy.device
        distinct = list(dict.fromkeys(prompts))
        index = {ids: row for row, ids in enumerate(distinct)}
        rests = [ids[self.length :] for ids in distinct]
        width = max(map(len, rests))
        tokens = torch.tensor([[policy.pad_id] * (width - len(rest)) + list(rest) for rest in rests], device=device)
        rest_lengths = torch.tensor([len(rest) for rest in rests], device=device)
        columns = torch.arange(width, device=device)
        real = columns[None, :] >= (width - rest_lengths)[:, None]
        positions = (columns[None, :] - (width - rest_lengths)[:, None]).clamp_min(0) + self.length
        mask = torch.cat([real.new_ones(len(distinct), self.length), real], dim=1)
        if self.cache is not None:
            cache = expand_rows(self.cache, torch.zeros(len(distinct), dtype=torch.int64, device=device))
        else:
            cache = growing_cache(model) if self.shared else DynamicCache(config=model.config)
        output = model(
            input_ids=tokens,
            attention_mask=mask.long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        lengths = rest_lengths + self.length
        return FilledPrompts(cache, mask, lengths, output.logits[:, -1], [index[ids] for ids in prompts])


def _assemble(prompts: list[PromptTokens], group_size: int, order: list[int], parts: list[Decoded]) -> Rollout:
    """Puts the batches back into the order of the prompts and cuts the padding that no completion needs."""
    device = parts[0].ids.device
    source = torch.empty(len(order), dtype=torch.int64)
    source[torch.tensor(order)] = torch.arange(len(order))
    rows = (source[:, None] * group_size + torch.arange(group_size)).reshape(-1).to(device)
    lengths = torch.cat([part.lengths for part in parts])[rows]
    width = int(lengths.max())
    stopped = torch.cat([part.stopped for part in parts])[rows]
    return Rollout(
        prompts=prompts,
        group_size=group_size,
        completion_ids=torch.cat([part.ids for part in parts])[rows, :width],
        lengths=lengths,
        finish_reasons=[FinishReason.STOP if stop else FinishReason.LENGTH for stop in stopped.tolist()],
        sampling_logprobs=torch.cat([part.logprobs for part in parts])[rows, :width],
    )


@contextmanager
def weights_cast_once(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside, linear layers hold their weights in autocast's precision; afterwards they have their own again.

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
