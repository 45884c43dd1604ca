"""How much memory a run will need on each device at its peak, from the sizes of its model and of its batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

# Bytes that one layer keeps per token for its backward pass, counted on Llama and Qwen2 in PyTorch's eager mode, for a
# hidden width h, an inner width i and keys of width k in all: 32 h + 16 i + 8 k in float32, and 30 h + 8 i + 4 k under
# autocast to bfloat16, whose norms and residuals stay float32. The embedding, the last norm and the selection of the
# states that are scored keep 16 h more.
_FULL, _MIXED, _OUTER = (32, 16, 8), (30, 8, 4), 16
_UNTRAINED_NORMS = 8  # of those bytes per h, which norms keep for the gradient of their weights alone
_FLOAT, _LOW = 4, 2
# A weight in NF4: half a byte, one byte for each 64 of them, and a float for each 256 of those bytes.
_PACKED = 1 / 2 + 1 / 64 + 4 / (64 * 256)
# Rows of logits that drawing a token holds: logits, exponentials, their sums, and what is compared.
_DRAWING = 4

Engine = Literal["hf", "vllm", "server"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSizes:
    """Sizes of a decoder; ``trained``: parameters with a gradient, of ``parameters``; widths in floats.

    ``linear``: parameters of the linear layers, which multiply in the precision of autocast; embeddings, norms and the
    output layer are left out. ``packed``: those of ``linear`` that are kept in 4 bits. ``key_value_width``: width of
    the keys of one token and layer, of all key heads together.
    ``bytes_per_float``: of the weights.
    """

    parameters: int
    trained: int
    linear: int
    layers: int
    hidden_width: int
    inner_width: int
    key_value_width: int
    vocabulary: int
    tied: bool = False
    packed: int = 0
    bytes_per_float: int = _FLOAT

    @property
    def floats_of_forward(self) -> int:
        """Floats per token that a layer holds while it runs without a backward pass: ``4 h + 3 i``."""
        return 4 * self.hidden_width + 3 * self.inner_width


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSizes:
    """``micro_batch_tokens``: most tokens in a training forward. ``decoding``: completions decoded at once.

    ``prompt_tokens``, ``completion_tokens``: per prompt, per completion, at most; ``group_size``: completions that
    share a prompt's cache. ``reference``: whether a copy of the policy is kept, ``moving`` if it follows; ``trunks``:
    further copies that train (a critic's). ``mixed``: autocast to bfloat16. ``pure``: all in bfloat16 beside float32
    weights that train, whose gradients are summed in float32. ``shards``: processes among which weights,
    gradients and optimizer states are divided, 1 for none. ``foreach``: whether the optimizer moves all weights at
    once, with a temporary for each (PyTorch's default on a GPU).

    ``engine``: what generates, ``hf`` with the policy's weights, ``vllm`` beside the trainer, or a ``server`` on other
    devices. ``engine_bytes``: what vLLM takes in all; ``engine_sleeps``: whether it takes them in rollouts only.

    ``evaluated``: completions decoded at once in an evaluation, by the size of their groups. ``gaps``: the share of a
    turn's tensors that the allocator keeps beside them, in freed blocks that fit no other.
    """

    micro_batch_tokens: int
    chunk_entries: int
    decoding: int
    prompt_tokens: int
    completion_tokens: int
    group_size: int
    optimizer_states: int = 2
    reference: bool = False
    moving: bool = False
    trunks: int = 0
    mixed: bool = False
    pure: bool = False
    shards: int = 1
    foreach: bool = False
    checkpointing: bool = False
    engine: Engine = "hf"
    engine_bytes: int = 0
    engine_sleeps: bool = True
    evaluated: Mapping[int, int] = field(default_factory=dict)
    gaps: float = 0.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes on one device by what holds them. Update, optimizer step, rollout and evaluation take turns.

    ``weights``: what trains and its frozen copies; ``gathered``: weights put together or cast for a forward and a
    backward; ``logits``: blocks of the head; ``step``: temporaries of the optimizer; ``copy``: weights that rollouts
    hold beside ``weights``; ``cache``, ``evaluation``: keys and values, of rollouts in training and in evaluations;
    ``gaps``: what the allocator keeps beside the tensors of a turn.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    backward: int
    gathered: int
    logits: int
    step: int
    copy: int
    cache: int
    engine_always: int = 0
    evaluation: int = 0
    gaps: int = 0

    @property
    def held(self) -> int:
        """What is there all the time."""
        return self.weights + self.gradients + self.optimizer + self.engine_always

    @property
    def update(self) -> int:
        return self.activations + self.gathered + max(self.backward, self.logits)

    @property
    def rollout(self) -> int:
        return self.copy + max(self.cache, self.evaluation)

    @property
    def tensors(self) -> int:
        """``held + max(update, step, rollout)``."""
        return self.held + max(self.update, self.step, self.rollout)

    @property
    def peak(self) -> int:
        """The tensors and the gaps between them."""
        return self.tensors + self.gaps


def footprint(model: ModelSizes, batch: BatchSizes) -> Footprint:
    """The peak of memory that a run is expected to need on each of its devices, in bytes.

    With ``P`` parameters of ``b`` bytes, ``L`` in linear layers, ``N`` shards, hidden width ``h``, ``V`` tokens, and
    ``low`` bytes for what autocast casts:

    - weights: ``b P / N``, and about half a byte for one in 4 bits; as much for every trunk; where all runs in bfloat16
      beside masters 4 bytes more, of the rounded weight and of its gradient in one backward; for the reference
      ``4 P / N`` in shards, ``b P`` without, and ``low L + 4 (P - L)`` where it stays in mixed precision;
    - gradients: ``b trained / N``; optimizer: two states like them; step: one more where it is fused over weights;
    - activations per token: see above; with checkpointing one float32 hidden width per layer, and one layer in full;
    - backward: the gradients of one layer's activations, while they pass through it;
    - gathered: under autocast the casts of all linear layers (of one with checkpointing), and of weights in 4 bits
      those of one layer, in full; in shards two layers, and embeddings and head with their gradients in float32;
    - logits: three float32 blocks (logits, probabilities, and products of a lower precision) of ``chunk_entries``, or
      of a micro-batch where that has fewer, and the head's gradient ``4 V h`` while it is summed;
    - copy: in shards ``low L + 4 (P - L)`` for rollouts by the policy, else the casts of linear layers and head; for
      vLLM what it takes;
    - cache, evaluation: keys and values of every layer, for the prompts of the completions that are decoded at once,
      once per group, and beside them the larger of two: those of the completions with four rows of logits each, or what
      a layer holds while the prompts run;
    - gaps: their share of the largest turn.

    What Python, the data and NCCL hold is not part of it.
    """
    size, low = model.bytes_per_float, _LOW if batch.mixed or batch.pure else model.bytes_per_float
    ends = model.parameters - model.linear
    lowered = model.linear * low + ends * (_LOW if batch.pure else _FLOAT)
    layer = model.linear // max(1, model.layers)
    head = model.vocabulary * model.hidden_width
    whole = round((model.parameters - model.packed) * size + model.packed * _PACKED)
    own = whole // batch.shards
    cast = model.linear - model.packed
    reference = 0
    if batch.reference:
        lower = (batch.mixed or batch.pure) and not batch.moving and batch.shards == 1
        reference = lowered if lower else own
    widths = (model.hidden_width, model.inner_width, model.key_value_width)
    scale = 1.0 if batch.mixed else low / _FLOAT
    of_widths = sum(n * width for n, width in zip(_MIXED if batch.mixed else _FULL, widths, strict=True))
    if model.trained < model.linear:
        of_widths -= _UNTRAINED_NORMS * model.hidden_width
    per_token = round(scale * of_widths)
    kept = model.layers * per_token
    if batch.checkpointing:
        kept = model.layers * model.hidden_width * (low if batch.pure else size) + per_token
    gathered = 0
    if batch.shards > 1:
        gathered = 2 * layer * low + 2 * ends * (low if batch.pure else size)
    elif batch.mixed:
        gathered = (layer if batch.checkpointing else cast) * low
    if model.packed:
        gathered += layer * size

    def decoding(completions: int, group_size: int) -> int:
        prompts = completions // group_size * batch.prompt_tokens
        of_token = 2 * model.layers * model.key_value_width * low
        drawing = _DRAWING * _FLOAT * completions * model.vocabulary
        prefill = prompts * low * model.floats_of_forward
        return prompts * of_token + max(completions * batch.completion_tokens * of_token + drawing, prefill)

    cache = decoding(batch.decoding, batch.group_size)
    evaluation = max((decoding(rows, size) for size, rows in batch.evaluated.items()), default=0)
    copy = lowered if batch.shards > 1 else (cast + head) * low if batch.mixed else 0
    always = 0
    if batch.engine != "hf":
        cache = evaluation = copy = 0
    if batch.engine == "vllm":
        always, copy = (0, batch.engine_bytes) if batch.engine_sleeps else (batch.engine_bytes, 0)
    chunk = min(batch.chunk_entries, batch.micro_batch_tokens * model.vocabulary)
    trained = model.trained * size // batch.shards
    running = 0
    if batch.pure and batch.shards == 1:  # the model in bfloat16 beside its masters, and its gradient of one backward
        running = model.parameters * low - (model.parameters - model.trained) * size + model.trained * low
    found = Footprint(
        weights=own + running + reference + batch.trunks * whole,
        gradients=trained + batch.trunks * model.trained * size,
        optimizer=(trained + batch.trunks * model.trained * size) * batch.optimizer_states,
        activations=batch.micro_batch_tokens * (kept + round(scale * _OUTER * model.hidden_width)),
        backward=batch.micro_batch_tokens * per_token,
        gathered=gathered,
        logits=3 * _FLOAT * chunk + (_FLOAT * head if model.trained > model.linear else 0),
        step=trained if batch.foreach else 0,
        copy=copy,
        cache=cache,
        evaluation=evaluation,
        engine_always=always,
    )
    return replace(found, gaps=round(batch.gaps * (found.tensors - found.held)))


def readable(count: float) -> str:
    """``count`` bytes as MiB or GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
