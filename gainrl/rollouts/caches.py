"""The keys and values that decoding keeps: of the shared prefix, of each prompt, and of each row's own tokens."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from gainrl.functional.grouped_attention import Groups, decode_with_shared_prompt, layer_attention
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

    It holds one entry, for the last prefix asked for: at most the tokens of the template, once.
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


@dataclass(slots=True)
class FilledPrompts:
    """Distinct prompts after their forward pass: cache, mask ``[R, L]``, lengths ``[R]``, last logits ``[R, V]``.

    ``rows[p]`` is the row of prompt ``p``, since equal prompts share one.
    """

    cache: Cache
    mask: Tensor
    lengths: Tensor
    logits: Tensor
    rows: list[int]


class Memory(Protocol):
    """Keys, values and masks of the rows that still decode."""

    def keep_rows(self, rows: Tensor) -> None:
        """Drops all rows but ``rows``."""
        ...

    def advance(self, model: Any, ids: Tensor, positions: Tensor) -> Tensor:
        """Feeds ``ids`` ``[R]`` at ``positions`` ``[R]`` and returns the next logits ``[R, V]``."""
        ...


class CopiedPrompts:
    """Every row has its own copy of its prompt's cache, in whatever form the model keeps it (recurrent states too)."""

    def __init__(self, cache: Cache, mask: Tensor, rows: Tensor, room: int) -> None:
        self.cache = cache
        self.mask = torch.cat([mask[rows], mask.new_ones(len(rows), room)], dim=1).long()
        self.columns = mask.shape[1]
        self._select(rows)

    def keep_rows(self, rows: Tensor) -> None:
        self.mask = self.mask[rows]
        self._select(rows)

    def advance(self, model: Any, ids: Tensor, positions: Tensor) -> Tensor:
        self.columns += 1
        return model(
            input_ids=ids[:, None],
            attention_mask=self.mask[:, : self.columns],
            position_ids=positions[:, None],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]

    def _select(self, rows: Tensor) -> None:
        for layer in self.cache.layers:
            layer.reorder_cache(rows)  # type: ignore[arg-type]  # annotated with a legacy tensor class


class SharedPrompts:
    """One copy of each prompt's keys and values; rows keep only their own tokens, in buffers of known size."""

    def __init__(self, cache: Cache, mask: Tensor, rows: Tensor, room: int) -> None:
        self.blocks = list(blocks(cache))
        self.mask = mask
        self.prompt_of_row = rows
        self.layers = [_OwnTokens(keys, values, len(rows), room) for keys, values in self.blocks]
        self.cache = Cache(layers=list(self.layers))
        self._regroup()

    def keep_rows(self, rows: Tensor) -> None:
        alive, self.prompt_of_row = self.prompt_of_row[rows].unique(return_inverse=True)
        if len(alive) < len(self.mask):
            self.blocks = [(keys[alive], values[alive]) for keys, values in self.blocks]
            self.mask = self.mask[alive]
        for layer in self.layers:
            layer.keep_rows(rows)
        self._regroup()

    def advance(self, model: Any, ids: Tensor, positions: Tensor) -> Tensor:
        config = model.config
        usual = config._attn_implementation
        config._attn_implementation = _ATTENTION
        try:
            return model(
                input_ids=ids[:, None],
                position_ids=positions[:, None],
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=1,
                shared_prompts=self,
            ).logits[:, -1]
        finally:
            config._attn_implementation = usual

    def _regroup(self) -> None:
        self.groups = Groups.of(self.prompt_of_row, len(self.mask))
        self.bias = None
        if not bool(self.mask.all()):
            bias = torch.zeros(self.mask.shape, dtype=self.blocks[0][0].dtype, device=self.mask.device)
            self.bias = bias.masked_fill_(~self.mask, -torch.inf)[:, None, None, :]


class _OwnTokens(DynamicLayer):
    """The rows' own keys and values in buffers that grow by doubling, up to ``room`` tokens.

    A step writes one column. Completions that end early never take the memory of those that reach the limit.
    """

    def __init__(self, keys: Tensor, values: Tensor, rows: int, room: int) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.length, self.room = 0, room
        columns = min(room, _FIRST_COLUMNS)
        self._keys, self._values = (
            block.new_empty(rows, block.shape[1], columns, block.shape[3]) for block in (keys, values)
        )

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if self.length == self._keys.shape[2]:
            self._copy(min(self.room, 2 * self.length), lambda written: written)
        self._keys[:, :, self.length] = key_states[:, :, 0]
        self._values[:, :, self.length] = value_states[:, :, 0]
        self.length += 1
        return self._keys[:, :, : self.length], self._values[:, :, : self.length]

    def keep_rows(self, rows: Tensor) -> None:
        self._copy(self._keys.shape[2], lambda written: written.index_select(0, rows))

    def _copy(self, columns: int, select: Callable[[Tensor], Tensor]) -> None:
        """New buffers with ``columns``; only what has been written is copied."""
        for name in ("_keys", "_values"):
            block = getattr(self, name)
            written = select(block[:, :, : self.length])
            copied = block.new_empty(len(written), block.shape[1], columns, block.shape[3])
            copied[:, :, : self.length] = written
            setattr(self, name, copied)


_FIRST_COLUMNS = 64


_ATTENTION = "gainrl_shared_prompts"
AttentionInterface.register(_ATTENTION, layer_attention(decode_with_shared_prompt))


def can_attend_to_shared_prompts(model: Any, total_length: int) -> bool:
    """Whether the attention of ``model`` is the ordinary one and can be replaced by one that shares prompts."""
    return (
        can_share(model, total_length)
        and getattr(model, "_supports_attention_backend", False)
        and model.config._attn_implementation in ("sdpa", "eager")
        # A cap on the scores or extra sinks in the softmax are not part of `decode_with_shared_prompt`.
        and getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is None
        and not any(hasattr(module, "sinks") for module in model.modules())
    )


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The precision in which autocast runs matrix products on a device, None where it is off."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


def as_autocast(tensor: Tensor) -> Tensor:
    """``tensor`` in the precision in which autocast will read it; itself where autocast is off."""
    dtype = autocast_dtype(tensor.device)
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)
