"""Drawing one token per row from logits, by inverting the cumulative distribution at a given uniform number.

The settings act in this order: the logits are divided by ``temperature``; ``top_k`` keeps the k most probable tokens
(those that tie with the k-th are kept as well); ``top_p`` keeps the most probable tokens up to and including the one
with which their share of what ``top_k`` left reaches ``top_p``; the rest is renormalised.

The log-probability returned belongs to the tempered but *untruncated* softmax: it is the quantity that the training
forward computes, so that the two can be compared. With ``top_k`` or ``top_p`` on, it is not the log-density of the
draw. Greedy decoding (``temperature=0``) reports log-probabilities at temperature 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gainrl.functional.streams import uniforms
from gainrl.rollouts.caches import (
    CopiedPrompts,
    FilledPrompts,
    Memory,
    SharedPrompts,
    can_attend_to_shared_prompts,
)
from gainrl.types import FinishReason, Policy, PromptTokens, Rollout, SamplingParams


def check_request(
    prompts: Sequence[PromptTokens], sampling: SamplingParams, keys: Tensor, *, mixed: bool = False
) -> None:
    """Raises ValueError for settings out of range, no prompts, an empty prompt, or keys that do not match.

    ``mixed``: whether the engine decodes some completions of a group greedily beside others.
    """
    validate_sampling(sampling)
    if sampling.greedy_first and not mixed:
        raise ValueError("greedy_first=True: this engine decodes all completions of a request alike; ask it twice")
    if not prompts:
        raise ValueError("no prompts were given: a rollout needs at least one")
    if keys.shape != (len(prompts),):
        raise ValueError(f"keys has shape {tuple(keys.shape)} for {len(prompts)} prompts: give one key per prompt")
    for index, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {index} has no tokens: a model needs at least one to continue from")


def validate_sampling(sampling: SamplingParams) -> None:
    """Raises ValueError where a setting is out of range, and says what to give instead."""
    if sampling.group_size < 1:
        raise ValueError(f"group_size={sampling.group_size}: a prompt needs at least one completion; give 1 or more")
    if sampling.max_new_tokens < 1:
        raise ValueError(f"max_new_tokens={sampling.max_new_tokens}: a completion needs room; give 1 or more")
    if not 0 <= sampling.temperature < float("inf"):
        raise ValueError(f"temperature={sampling.temperature}: give a positive number, or 0 for greedy decoding")
    if not 0 < sampling.top_p <= 1:
        raise ValueError(f"top_p={sampling.top_p}: a share of probability lies in (0, 1]; give 1 to switch it off")
    if sampling.top_k < 0:
        raise ValueError(f"top_k={sampling.top_k}: a count of tokens; give 0 to switch it off")


def draw_tokens(
    logits_BV: Tensor, uniforms_B: Tensor, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> tuple[Tensor, Tensor]:
    """One token id and its log-probability per row: ``[B]`` int64 and ``[B]`` float32.

    ``uniforms_B``: numbers in [0, 1); the draw of a row is the first token (in order of its id) whose cumulative
    probability exceeds the row's number. Nothing is drawn otherwise: equal arguments give equal tokens.
    """
    logits = logits_BV.float()
    if temperature == 0:
        ids = logits.argmax(-1)
        return ids, logits.gather(1, ids[:, None]).squeeze(1) - logits.logsumexp(-1)
    if temperature != 1.0:
        logits = logits / temperature
    # A plain softmax without the subtraction of its logarithm: one exponential per entry serves draw and log-prob.
    peak = logits.amax(-1, keepdim=True)
    weights = (logits - peak).exp_()
    drawable = _truncate(weights, top_k, top_p) if top_k or top_p < 1 else weights
    cumulative = drawable.cumsum(-1)
    total = cumulative[:, -1:]
    # Strictly below the total, so that a token with positive weight is always found, whatever the rounding.
    threshold = torch.minimum(uniforms_B[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    ids = torch.searchsorted(cumulative, threshold, right=True).squeeze(1)
    mass = total if drawable is weights else weights.sum(-1, keepdim=True)
    logprobs = logits.gather(1, ids[:, None]) - peak - mass.log()
    return ids, logprobs.squeeze(1)


def _truncate(weights: Tensor, top_k: int, top_p: float) -> Tensor:
    """``weights`` with zeros outside the tokens that ``top_k`` and ``top_p`` keep."""
    if 0 < top_k < weights.shape[-1]:
        smallest = weights.topk(top_k, dim=-1).values[:, -1:]
        weights = torch.where(weights >= smallest, weights, 0.0)
    if top_p < 1:
        ordered, indices = weights.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        ordered = torch.where(before < top_p * ordered.sum(-1, keepdim=True), ordered, 0.0)
        weights = torch.zeros_like(weights).scatter_(1, indices, ordered)
    return weights


def tempered_only(sampling: SamplingParams) -> bool:
    """Whether tokens are drawn from the tempered softmax itself, whose density the training forward computes."""
    return sampling.top_p == 1 and sampling.top_k == 0


def assemble_rollout(
    policy: Policy,
    prompts: Sequence[PromptTokens],
    group_size: int,
    completions: Sequence[Sequence[int]],
    logprobs: Sequence[Sequence[float]] | None = None,
    version: int | None = None,
) -> Rollout:
    """A `Rollout` of ``B`` prompt-major completions given as lists of ids; one that ends with a stop id was stopped.

    ``logprobs``: one number per token, or None. Raises RuntimeError where the lists do not have these sizes.
    """
    rows = len(prompts) * group_size
    if len(completions) != rows or not all(completions):
        raise RuntimeError(
            f"the engine gave {sum(map(bool, completions))} completions with tokens for {len(prompts)} prompts of "
            f"group_size={group_size}; {rows} were asked for"
        )
    lengths = torch.tensor([len(ids) for ids in completions])
    width = int(lengths.max())
    ids_BT = torch.full((rows, width), policy.pad_id, dtype=torch.int64)
    logprobs_BT = None if logprobs is None else torch.zeros(rows, width, dtype=torch.float32)
    for row, ids in enumerate(completions):
        ids_BT[row, : len(ids)] = torch.tensor(list(ids))
        if logprobs_BT is not None and logprobs is not None:
            if len(logprobs[row]) != len(ids):
                raise RuntimeError(f"completion {row}: {len(logprobs[row])} log-probs for {len(ids)} tokens")
            logprobs_BT[row, : len(ids)] = torch.tensor(list(logprobs[row]))
    device = policy.device
    stops = set(policy.stop_ids)
    return Rollout(
        prompts=list(prompts),
        group_size=group_size,
        completion_ids=ids_BT.to(device),
        lengths=lengths.to(device),
        finish_reasons=[FinishReason.STOP if ids[-1] in stops else FinishReason.LENGTH for ids in completions],
        sampling_logprobs=None if logprobs_BT is None else logprobs_BT.to(device),
        version=version,
    )


# Rows leave the batch when this share of it has finished; copying the cache more often costs more than it saves.
_COMPACT_AT = 0.25


# Steps between two looks at how many rows still run. A look makes a GPU wait for the host, which otherwise queues the
# next steps; a CPU waits for nothing.
_LOOK_EVERY = {"cpu": 1}


_LOOK_EVERY_ON_GPU = 16


@dataclass(slots=True)
class Decoded:
    ids: Tensor
    lengths: Tensor
    stopped: Tensor
    logprobs: Tensor


def _first_of_groups(members: Tensor, sampling: SamplingParams) -> Tensor | None:
    """Rows of the batch that are decoded greedily; found once per batch, since a GPU waits for the host meanwhile."""
    return (members % sampling.group_size == 0).nonzero().squeeze(1) if sampling.greedy_first else None


def decode(policy: Policy, filled: FilledPrompts, sampling: SamplingParams, keys: Tensor) -> Decoded:
    """The decoding loop over one batch of completions (``keys``: ``[B]``, prompt-major)."""
    model, device = policy.model, policy.device
    count, room = len(keys), sampling.max_new_tokens
    stop_ids = torch.tensor(policy.stop_ids, dtype=torch.int64, device=device)
    draws = uniforms(keys, 0, room)
    rows = torch.tensor(filled.rows, device=device).repeat_interleave(sampling.group_size)
    logits, positions = filled.logits[rows], filled.lengths[rows]
    shares = can_attend_to_shared_prompts(model, filled.mask.shape[1] + room)
    memory: Memory = (SharedPrompts if shares else CopiedPrompts)(filled.cache, filled.mask, rows, room)

    ids = torch.full((count, room), policy.pad_id, dtype=torch.int64, device=device)
    logprobs = torch.zeros(count, room, dtype=torch.float32, device=device)
    lengths = torch.full((count,), room, dtype=torch.int64, device=device)
    stopped = torch.zeros(count, dtype=torch.bool, device=device)
    members = torch.arange(count, device=device)  # which completion each row of the batch is
    running = torch.ones(count, dtype=torch.bool, device=device)
    greedy = _first_of_groups(members, sampling)
    look_every = _LOOK_EVERY.get(device.type, _LOOK_EVERY_ON_GPU)
    for step in range(room):
        new_ids, new_logprobs = draw_tokens(
            logits,
            draws[members, step],
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
        )
        if greedy is not None:
            new_ids[greedy], new_logprobs[greedy] = draw_tokens(logits[greedy], draws[greedy, step], temperature=0)
        ids[members, step] = torch.where(running, new_ids, policy.pad_id)
        logprobs[members, step] = torch.where(running, new_logprobs, 0.0)
        ended = running & torch.isin(new_ids, stop_ids)
        lengths[members] = torch.where(ended, step + 1, lengths[members])
        stopped[members] |= ended
        running = running & ~ended
        if step + 1 == room:
            break
        if (step + 1) % look_every == 0:
            left = int(running.sum())
            if left == 0:
                break
            if left <= (1 - _COMPACT_AT) * len(members):
                keep = running.nonzero().squeeze(1)
                memory.keep_rows(keep)
                members, running, new_ids, positions = members[keep], running[keep], new_ids[keep], positions[keep]
                greedy = _first_of_groups(members, sampling)
        logits = memory.advance(model, new_ids, positions)
        positions = positions + 1
    return Decoded(ids, lengths, stopped, logprobs)
