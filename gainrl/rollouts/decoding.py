"""What a batch of decoding rows remembers, and how the model is called with it: one token per row and call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicLayer

from gainrl.functional.grouped_attention import Groups, decode_with_shared_prompt, layer_attention
from gainrl.rollouts.prefix_cache import blocks, can_share


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
