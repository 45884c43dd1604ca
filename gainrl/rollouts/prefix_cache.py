"""Key/value caches that are filled once and then copied to all rows that begin with the same tokens."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from gainrl.rollouts.autocast import as_autocast, autocast_dtype
from gainrl.types import Policy, PromptTokens


def shared_prefix(prompts: Sequence[PromptTokens]) -> tuple[int, ...]:
    """The token ids before the question that all ``prompts`` begin with.

    What the questions themselves have in common stays out: a prefix that depends on the template alone is the same in
    every call, and so is the rounding of what follows from it, whether the prefix was kept or computed again.
    """
    length = common_prefix_length([prompt.ids for prompt in prompts])
    return prompts[0].ids[: min(length, *(prompt.prefix_length for prompt in prompts))]


class PrefixCache:
    """Keys and values of one prefix, kept for as long as the weights stay the same.

    It holds a single entry, that of the last prefix asked for: at most the tokens of the template, once.
    """

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._model: weakref.ref[Any] | None = None
        self._cache: Cache | None = None

    def filled(self, policy: Policy, ids: tuple[int, ...], version: int | None = None) -> Cache | None:
        """The cache after ``ids`` under the current weights (None without ids); it must not be written to.

        ``version``: of the weights, the policy's if None.
        """
        if not ids:
            return None
        model, device = policy.model, policy.device
        key = (policy.version if version is None else version, ids, device, model.dtype, autocast_dtype(device))
        if self._cache is None or key != self._key or self._model is None or self._model() is not model:
            self._cache = None  # the old one goes before the new one takes memory
            cache = growing_cache(model)
            tokens = torch.tensor([ids], device=device)
            model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
            self._key, self._model, self._cache = key, weakref.ref(model), cache
        return self._cache


def common_prefix_length(sequences: Sequence[tuple[int, ...]]) -> int:
    """How many leading token ids all ``sequences`` share, short of the last token of the shortest.

    The last token stays out because its forward pass yields the logits of what follows.
    """
    # The lexicographic extremes differ first where any two sequences do.
    low, high = min(sequences), max(sequences)
    limit = min(len(sequence) for sequence in sequences) - 1
    shared = 0
    while shared < limit and low[shared] == high[shared]:
        shared += 1
    return shared


def can_share(model: Any, total_length: int) -> bool:
    """Whether the cache of ``model`` is one growing block of keys and values per layer for ``total_length`` tokens.

    It is not for recurrent states, nor for a sliding window that is shorter than the text.
    """
    layers = DynamicCache(config=model.config).layers
    return bool(layers) and all(
        type(layer) is DynamicLayer
        or (type(layer) is DynamicSlidingWindowLayer and total_length <= layer.sliding_window)
        for layer in layers
    )


def growing_cache(model: Any) -> Cache:
    """An empty cache with one growing block per layer (see `can_share`)."""
    return Cache(layers=[_Growing() for _ in DynamicCache(config=model.config).layers])


class _Growing(DynamicLayer):
    """Keys and values in the precision in which attention reads them.

    Under autocast a model gives float32 keys, since rotary embeddings are float32, and attention casts them at every
    step. What it would cast is stored as it reads it, in half the memory.
    """

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        return super().update(as_autocast(key_states), as_autocast(value_states), *args, **kwargs)


def expand_rows(cache: Cache, rows: Tensor) -> Cache:
    """A growing cache whose row ``i`` is a copy of row ``rows[i]``."""
    expanded: list[Any] = []
    for keys, values in blocks(cache):
        layer = _Growing()
        layer.update(keys.index_select(0, rows), values.index_select(0, rows))
        expanded.append(layer)
    return Cache(layers=expanded)


def blocks(cache: Cache) -> Iterator[tuple[Tensor, Tensor]]:
    """Keys and values of every layer of a growing cache."""
    for layer in cache.layers:
        if not isinstance(layer, DynamicLayer) or layer.keys is None or layer.values is None:
            raise TypeError(f"{type(layer).__name__} holds no block of keys and values; see can_share")
        yield layer.keys, layer.values
