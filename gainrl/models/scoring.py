"""The training forward: log-probabilities of completions under a policy, with gradients.

Two ways to compute the same numbers:

- *shared*: each prompt runs once and the members of its group attend to it, gradients included (`shared_prompts`);
- *plain*: every row runs as prompt followed by completion. It serves models whose cache cannot be shared (sliding
  windows, recurrent states), training with gradient checkpointing, which has no cache, and GPUs (`runs_in_full`).

Either way rows are padded on the right, so that causal attention alone keeps real tokens from padding; only positions
that predict a completion token reach the language-model head, which runs in chunks (`functional.logprobs`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gainrl.functional.logprobs import chunked_logprobs
from gainrl.models.shared_prompts import SharedForm, run_completions, run_prompts, shared_form
from gainrl.types import Policy, PromptTokens

# Floats of logits at most if the caller names no chunk, and tokens of the vocabulary in them: 4 MiB on a CPU, whose
# caches should hold them and their probabilities, and 512 MiB on a GPU, which small products leave idle.
_ON_CPU = (1 << 20, 1 << 10)
_ON_GPU = (1 << 27, 1 << 14)


def chunk_entries(device: torch.device) -> int:
    """Floats of logits in a chunk on ``device``, at most."""
    return (_ON_CPU if device.type == "cpu" else _ON_GPU)[0]


def usual_chunk(device: torch.device, vocabulary: int, positions: int) -> tuple[int, int]:
    """Positions and tokens of the vocabulary in a chunk on ``device``, where there are ``positions`` in all.

    Few positions leave room for more tokens on a GPU, which would otherwise wait for the launches of many small
    chunks.
    """
    entries, columns = _ON_CPU if device.type == "cpu" else _ON_GPU
    rows = max(1, min(positions, entries // min(columns, vocabulary)))
    return rows, min(vocabulary, columns if device.type == "cpu" else entries // rows)


def runs_in_full(form: SharedForm | None, device: torch.device, prompt_tokens: int, completion_tokens: int) -> bool:
    """Whether rows should run as prompt and completion, although prompts could be shared in this ``form``.

    On a GPU the fused form does not exist, and the copied one needs a mask, which rules out flash attention and is kept
    per layer for the backward pass. Plain rows need none. They cost more only where prompts, run again for every
    member of a group, are longer than completions.
    """
    return form == "copied" and device.type != "cpu" and prompt_tokens <= completion_tokens


@dataclass(frozen=True, slots=True)
class PromptSpan:
    """Prompt ``prompt`` (its index in the prompts given) lies in ``activation[row, start:stop]``."""

    prompt: int
    row: int
    start: int
    stop: int


HiddenObserver = Callable[[tuple[PromptSpan, ...]], AbstractContextManager[Any]]
"""Entered around the forward call that runs the prompts, and left right after it.

It receives where each prompt's tokens lie in the ``[rows, columns, D]`` activations of that call: one span for each
prompt that has a selected row. A hook that the observer installs on entering, and removes on leaving, sees exactly the
activations that training uses. Calls that hold no new prompt run outside of it.
"""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a policy says of completion tokens, each ``[R, T]`` float32, zero beyond a row's length.

    ``logprobs`` and ``entropies`` in nats, ``values`` of the value head; those not asked for are None.
    """

    logprobs: Tensor | None
    entropies: Tensor | None
    values: Tensor | None


def completion_scores(
    policy: Policy,
    prompts: Sequence[PromptTokens],
    completion_ids_BT: Tensor,
    lengths_B: Tensor,
    group_sizes: int | Sequence[int],
    *,
    temperature: float = 1.0,
    rows: Tensor | None = None,
    with_logprobs: bool = True,
    with_entropy: bool = False,
    value_head: Callable[[Tensor], Tensor] | None = None,
    hidden_observer: HiddenObserver | None = None,
    chunk: tuple[int, int] | None = None,
    share_prompts: bool = True,
    scored_BT: Tensor | None = None,
) -> Scored:
    """Log-probabilities, entropies and values of completion tokens from one forward of ``policy``.

    ``completion_ids_BT``: ``[B, T]`` int64, right-padded, prompt-major; ``lengths_B``: ``[B]``. ``group_sizes``:
    completions of each prompt, one number where all have as many. ``rows``: indices ``[R]`` of the completions to
    score, all of them if None; the others cost nothing.
    All results are in the order of ``rows``, differentiable, and do not depend on the padding. ``chunk``: see
    `chunked_logprobs` (None: `usual_chunk`). ``scored_BT``: ``[B, T]`` bool, the tokens to score where not
    all of a completion are wanted; the others are zero and spare the head.

    The log-probability of a token is taken under ``softmax(logits / temperature)`` after all tokens before it. Its
    value is ``value_head`` (``[N, D]`` to ``[N]``) of the same hidden state, i.e. of the state in which it is chosen.
    Raises ValueError where the shapes do not belong together.
    """
    sizes = [group_sizes] * len(prompts) if isinstance(group_sizes, int) else list(group_sizes)
    owners = [prompt for prompt, size in enumerate(sizes) for _ in range(size)]
    if (
        len(sizes) != len(prompts)
        or len(owners) != completion_ids_BT.shape[0]
        or lengths_B.shape != completion_ids_BT.shape[:1]
    ):
        raise ValueError(
            f"{len(prompts)} prompts with group_sizes={group_sizes} need {len(owners)} completions; "
            f"completion_ids has shape {tuple(completion_ids_BT.shape)} and lengths {tuple(lengths_B.shape)}"
        )
    device = policy.device
    if rows is None:
        rows = torch.arange(len(completion_ids_BT))
    rows_list = rows.tolist()
    width = completion_ids_BT.shape[1]
    wanted = (with_logprobs, with_logprobs and with_entropy, value_head is not None)
    if not rows_list:
        return Scored(*(torch.zeros(0, width, device=device) if each else None for each in wanted))
    members = rows.to(completion_ids_BT.device)
    lengths = lengths_B[members].to(device)
    used_width = max(1, int(lengths.max()))
    batch = _Batch(
        prompts=prompts,
        prompt_of_row=[owners[row] for row in rows_list],
        ids=completion_ids_BT[members, :used_width].to(device),
        lengths=lengths,
    )
    total = max(len(prompts[index]) for index in batch.prompt_of_row) + used_width
    observe = hidden_observer or (lambda spans: nullcontext())
    form = None
    if share_prompts and len(set(batch.prompt_of_row)) < len(rows_list):
        form = shared_form(policy.model, total)
        if runs_in_full(form, device, total - used_width, used_width):
            form = None
    hidden_ND = _shared_hidden(policy, batch, observe, form) if form else _plain_hidden(policy, batch, observe)
    real = torch.arange(used_width, device=device)[None, :] < lengths[:, None]
    if scored_BT is not None:
        chosen = scored_BT[members, :used_width].to(device)
        hidden_ND, real = hidden_ND[chosen[real]], real & chosen
    scores: list[Tensor | None] = [None, None]
    if with_logprobs:
        head = _Head.of(policy.model)
        scores = list(
            chunked_logprobs(
                hidden_ND,
                head.weight,
                batch.ids[real],
                bias=head.bias,
                temperature=temperature / head.scale,
                chunk=chunk or usual_chunk(device, len(head.weight), len(hidden_ND)),
                softcap=head.softcap,
            )
        )
    scores.append(value_head(hidden_ND) if value_head is not None else None)
    return Scored(
        *(_scatter(v, real, width) if each and v is not None else None for v, each in zip(scores, wanted, strict=True))
    )


@dataclass(frozen=True, slots=True)
class _Batch:
    prompts: Sequence[PromptTokens]
    prompt_of_row: list[int]
    ids: Tensor
    lengths: Tensor


@dataclass(frozen=True, slots=True)
class _Head:
    """The map from the decoder's last hidden state to logits: ``scale * cap(hidden @ weight.T + bias)``."""

    weight: Tensor
    bias: Tensor | None
    softcap: float | None
    scale: float

    @classmethod
    def of(cls, model: Any) -> _Head:
        layer = model.get_output_embeddings()
        config = model.config.get_text_config()
        scale = getattr(config, "logit_scale", None) or 1.0  # Cohere multiplies
        scale /= getattr(config, "logits_scaling", None) or 1.0  # Granite divides
        return cls(layer.weight, getattr(layer, "bias", None), getattr(config, "final_logit_softcapping", None), scale)


def decoder_of(model: Any) -> Any:
    """The part of a causal language model that gives hidden states."""
    # The adapters of peft are injected into the layers, so the wrapped model's decoder already applies them.
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner.base_model


def _scatter(values_N: Tensor, real: Tensor, width: int) -> Tensor:
    full = torch.zeros(len(real), width, dtype=values_N.dtype, device=values_N.device)
    selected = torch.nn.functional.pad(real, (0, width - real.shape[1]))
    return full.masked_scatter(selected, values_N)


def _right_padded(sequences: list[Sequence[int]], device: torch.device) -> Tensor:
    width = max(map(len, sequences))
    return torch.tensor([list(ids) + [0] * (width - len(ids)) for ids in sequences], device=device)


def _plain_hidden(policy: Policy, batch: _Batch, observe: HiddenObserver) -> Tensor:
    """Hidden states ``[N, D]`` that predict the completion tokens, row by row, one full sequence per row."""
    sequences: list[Sequence[int]] = []
    spans: dict[int, PromptSpan] = {}
    for row, (index, ids, length) in enumerate(
        zip(batch.prompt_of_row, batch.ids.tolist(), batch.lengths.tolist(), strict=True)
    ):
        prompt = batch.prompts[index].ids
        spans.setdefault(index, PromptSpan(index, row, 0, len(prompt)))
        # The last token predicts nothing that is scored.
        sequences.append([*prompt, *ids[: max(0, length - 1)]])
    tokens = _right_padded(sequences, policy.device)
    with observe(tuple(spans.values())):
        hidden = decoder_of(policy.model)(input_ids=tokens, use_cache=False).last_hidden_state
    first = torch.tensor([len(batch.prompts[index]) - 1 for index in batch.prompt_of_row], device=policy.device)
    columns = torch.arange(tokens.shape[1], device=policy.device)
    wanted = (columns[None, :] >= first[:, None]) & (columns[None, :] < (first + batch.lengths)[:, None])
    return _select(hidden, wanted)


def _shared_hidden(policy: Policy, batch: _Batch, observe: HiddenObserver, form: SharedForm) -> Tensor:
    """The same hidden states as `_plain_hidden`, with one forward per prompt."""
    device, model, decoder = policy.device, policy.model, decoder_of(policy.model)
    distinct = list(dict.fromkeys(batch.prompt_of_row))
    place = {index: row for row, index in enumerate(distinct)}
    prompts = [batch.prompts[index].ids for index in distinct]
    sizes = torch.tensor([len(ids) for ids in prompts], device=device)
    with observe(tuple(PromptSpan(index, row, 0, len(prompts[row])) for index, row in place.items())):
        hidden, states = run_prompts(model, decoder, _right_padded(list(prompts), device), sizes)
    prompt_of_row = torch.tensor([place[index] for index in batch.prompt_of_row], device=device)
    width = batch.ids.shape[1]
    last = sizes - 1 + torch.arange(len(prompts), device=device) * hidden.shape[1]
    # The last token of a prompt predicts the first of each of its completions.
    parts = hidden.flatten(0, 1).index_select(0, last.index_select(0, prompt_of_row))[:, None]
    if width > 1:
        # A compiled module has no truth value: it asks the one inside for its length.
        chosen = decoder if policy.compiled_decoder is None else policy.compiled_decoder
        continued = run_completions(model, chosen, states, prompt_of_row, batch.ids[:, :-1], form)
        parts = torch.cat([parts, continued], dim=1)
    return _select(parts, torch.arange(width, device=device)[None, :] < batch.lengths[:, None])


def _select(hidden: Tensor, wanted: Tensor) -> Tensor:
    """Rows of ``hidden`` ``[R, L, D]`` where ``wanted`` ``[R, L]`` is True, as ``[N, D]``."""
    flat = hidden.flatten(0, 1)
    if bool(wanted.all()):
        return flat
    return flat.index_select(0, wanted.flatten().nonzero().squeeze(1))
