"""The tokens that all prompts begin with: run once, their keys and values read by every batch of what follows them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from gainrl.functional.angles import DirectionSums, direction_sums
from gainrl.models.shared_prompts import PromptStates, SharedForm, run_completions, run_prompts, shared_form
from gainrl.signals.activations import Tap, decoder_and_blocks, evaluating, tapped
from gainrl.types import PromptTokens


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """What is kept of the shared tokens: ``length`` of them, their direction sums per tap, and their keys and values.

    ``last_state``: ``[D]``, the final state of the last one. Keys and values are in ``states``, read in place, or in
    ``cache`` where a model needs its own kind.
    """

    length: int
    sums: Mapping[Tap, DirectionSums]
    last_state: Tensor | None = None
    states: PromptStates | None = None
    form: SharedForm | None = None
    cache: Any = None  # a transformers Cache of batch size 1; never handed to the model, which would write into it

    def run_tails(
        self, model: Any, taps: Sequence[Tap], ids_PT: Tensor, *, stop: bool
    ) -> tuple[dict[Tap, Tensor], Tensor | None]:
        """Activations and final states of the tokens ``[P, T]`` behind the prefix; with ``stop`` no final states."""
        decoder = decoder_and_blocks(model)[0]
        final = None
        with evaluating(model), tapped(model, taps, stop=stop) as hidden:
            if self.states is not None and self.form is not None:
                owners = torch.zeros(len(ids_PT), dtype=torch.long, device=ids_PT.device)
                final = run_completions(model, decoder, self.states, owners, ids_PT, self.form)
            else:
                positions = torch.arange(self.length, self.length + ids_PT.shape[1], device=ids_PT.device)
                cache = self._cache_for(len(ids_PT))
                final = decoder(
                    input_ids=ids_PT,
                    position_ids=positions[None].expand(len(ids_PT), -1),
                    past_key_values=cache,
                    use_cache=cache is not None,
                )[0]
        return hidden, final

    def _cache_for(self, batch_size: int) -> Any:
        if self.cache is None:
            return None
        cache = copy.deepcopy(self.cache)
        for layer in cache.layers:  # batch_repeat_interleave is missing in layers with recurrent states
            layer.reorder_cache(torch.zeros(batch_size, dtype=torch.long))
        return cache


def run_shared_prefix(
    model: Any, taps: Sequence[Tap], ids: Sequence[int], longest_tail: int, device: torch.device
) -> SharedPrefix:
    """Runs the tokens ``ids``, behind each of which at most ``longest_tail`` tokens will be run."""
    if not ids:
        return SharedPrefix(0, {})
    decoder = decoder_and_blocks(model)[0]
    tokens = torch.tensor([list(ids)], device=device)
    form = shared_form(model, len(ids) + longest_tail)
    states = cache = None
    with tapped(model, taps) as hidden:
        if form is None:
            cache = DynamicCache(config=model.config)
            final = decoder(input_ids=tokens, past_key_values=cache, use_cache=True)[0]
        else:
            final, states = run_prompts(model, decoder, tokens, torch.tensor([len(ids)], device=device))
    whole = torch.ones_like(tokens, dtype=torch.bool)
    sums = {tap: direction_sums(activations, whole) for tap, activations in hidden.items()}
    return SharedPrefix(len(ids), sums, final[0, -1], states, form, cache)


def shared_prefix_length(prompts: Sequence[PromptTokens]) -> int:
    """How many tokens before the question all prompts begin with."""
    if not len(prompts):
        return 0
    first = prompts[0].ids
    shared = min(prompt.prefix_length for prompt in prompts)
    for prompt in prompts:
        if prompt.ids[:shared] != first[:shared]:
            shared = next(i for i in range(shared) if prompt.ids[i] != first[i])
    return shared
