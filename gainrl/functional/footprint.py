"""How much memory a run will need at its peak, from the sizes of its model and of its batches."""

from __future__ import annotations

from dataclasses import dataclass

# Floats that one layer keeps per token for its backward pass, counted on Llama and Qwen2 in PyTorch's eager mode: of
# the hidden width 10 (inputs of both norms, their normalised and their scaled forms, queries, keys, values, the
# attention's result), of the inner width 4 (gate, its activation, up, their product). Embeddings and the last norm keep
# 4 hidden widths more.
_HIDDEN_COPIES, _INNER_COPIES, _OUTER_COPIES = 10, 4, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSizes:
    """Sizes of a decoder; ``trained``: parameters with a gradient, of ``parameters``; widths in floats.

    ``key_value_width``: width of the keys of one token and layer, those of all key heads together.
    ``bytes_per_float``: of weights and activations.
    """

    parameters: int
    trained: int
    layers: int
    hidden_width: int
    inner_width: int
    key_value_width: int
    vocabulary: int
    bytes_per_float: int = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSizes:
    """``micro_batch_tokens``: most tokens in a training forward. ``decoding``: completions decoded at once.

    ``prompt_tokens``, ``completion_tokens``: per prompt, per completion, at most; ``group_size``: completions that
    share a prompt's cache. ``frozen_copies``: further sets of weights (a reference policy, a critic's trunk).
    ``shards``: processes among which weights that train, gradients and optimizer states are divided, beside a whole
    copy of the weights in each; with 1 there is no such copy.
    """

    micro_batch_tokens: int
    chunk_entries: int
    decoding: int
    prompt_tokens: int
    completion_tokens: int
    group_size: int
    optimizer_states: int = 2
    frozen_copies: int = 0
    shards: int = 1
    checkpointing: bool = False


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes by what holds them. The update and the rollout take turns, hence ``peak``."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    backward: int
    logits: int
    cache: int

    @property
    def peak(self) -> int:
        """``weights + gradients + optimizer + max(activations + max(backward, logits), cache)``."""
        update = self.activations + max(self.backward, self.logits)
        return self.weights + self.gradients + self.optimizer + max(update, self.cache)


def footprint(model: ModelSizes, batch: BatchSizes) -> Footprint:
    """The peak of memory that a run is expected to need, in bytes.

    - weights: ``parameters * (1 + frozen_copies)``; gradients: ``trained``; optimizer: ``optimizer_states * trained``;
      in ``shards``, ``parameters / shards`` more weights, and the share of gradients and optimizer;
    - activations: ``micro_batch_tokens * (layers * (10 hidden + 4 inner) + 4 hidden)``; with checkpointing one hidden
      width per token and layer, and one layer in full;
    - backward: the gradients of one layer's activations, while they pass through it;
    - logits: three blocks of float32 (logits, probabilities, their gradient) of ``chunk_entries``, or of a micro-batch
      where that has fewer, or of one row where that has more;
    - cache: keys and values of every layer, for ``decoding`` completions and for their prompts once per group.

    What Python, the data and the allocator hold is not part of it.
    """
    size = model.bytes_per_float
    per_token = _HIDDEN_COPIES * model.hidden_width + _INNER_COPIES * model.inner_width
    kept = model.layers * per_token
    if batch.checkpointing:
        kept = model.layers * model.hidden_width + per_token
    cached = batch.decoding * batch.completion_tokens + batch.decoding // batch.group_size * batch.prompt_tokens
    in_shards = model.parameters * size // batch.shards if batch.shards > 1 else 0
    return Footprint(
        weights=model.parameters * size * (1 + batch.frozen_copies) + in_shards,
        gradients=model.trained * size // batch.shards,
        optimizer=model.trained * size * batch.optimizer_states // batch.shards,
        activations=batch.micro_batch_tokens * (kept + _OUTER_COPIES * model.hidden_width) * size,
        backward=batch.micro_batch_tokens * per_token * size,
        logits=3 * 4 * max(min(batch.chunk_entries, batch.micro_batch_tokens * model.vocabulary), model.vocabulary),
        cache=2 * cached * model.layers * model.key_value_width * size,
    )


def readable(count: float) -> str:
    """``count`` bytes as MiB or GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
