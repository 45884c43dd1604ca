"""Completions of one step that come in several calls of the engine: of groups that differ in size, and in rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gainrl.training.distributed.shares import Judged
from gainrl.types import FinishReason, PromptBatch, PromptTokens


def checked_counts(counts: np.ndarray, prompts: int, budget: int, *, least: int) -> np.ndarray:
    """The counts of an allocation as ``[P]`` int64; raises ValueError unless they are whole and fit the budget."""
    found = np.asarray(counts)
    whole = found.astype(np.int64)
    if found.shape != (prompts,) or not np.array_equal(whole, found) or (whole < least).any():
        raise ValueError(
            f"the allocation gave {found!r} for {prompts} prompts: give each a whole number, {least} or more"
        )
    if whole.sum() > budget:
        raise ValueError(f"the allocation gave {whole.sum()} completions where {budget} are left: give fewer")
    return whole


def together(batch: PromptBatch, counts: np.ndarray, parts: Sequence[tuple[np.ndarray, Judged]], pad_id: int) -> Judged:
    """The completions of a batch, prompt-major, from calls that drew those of some ``places`` each."""
    if len(parts) == 1 and len(parts[0][0]) == len(batch):
        return parts[0][1]
    sources = [
        (int(place), row)
        for number, (places, (rollout, *_)) in enumerate(parts)
        for place, row in zip(np.repeat(places, rollout.group_size), _rows_behind(parts, number), strict=True)
    ]
    order = [row for _, row in sorted(sources)]
    return _reordered(batch.prompts, [judged for _, judged in parts], order, counts.tolist(), pad_id)


def extended(known: Judged, new: Judged, pad_id: int) -> Judged:
    """The completions of a batch with those of a further round, which go behind those of their own prompt."""
    prompts = known[0].prompts
    first, more = known[0].group_sizes, new[0].group_sizes
    order, start, behind = [], 0, sum(first)
    for size, extra in zip(first, more, strict=True):
        order += [*range(start, start + size), *range(behind, behind + extra)]
        start, behind = start + size, behind + extra
    sizes = [size + extra for size, extra in zip(first, more, strict=True)]
    return _reordered(prompts, [known, new], order, sizes, pad_id)


def _rows_behind(parts: Sequence[tuple[np.ndarray, Judged]], number: int) -> range:
    """The rows of one call, where those of all calls are laid behind each other."""
    before = sum(len(verdicts) for _, (_, _, verdicts) in parts[:number])
    return range(before, before + len(parts[number][1][2]))


def _reordered(
    prompts: Sequence[PromptTokens], parts: Sequence[Judged], order: Sequence[int], sizes: list[int], pad_id: int
) -> Judged:
    rollouts = [rollout for rollout, _, _ in parts]
    texts = [text for _, some, _ in parts for text in some]
    verdicts = [verdict for _, _, some in parts for verdict in some]
    reasons: list[FinishReason] = [reason for rollout in rollouts for reason in rollout.finish_reasons]
    device = rollouts[0].lengths.device
    rows = torch.tensor(list(order), dtype=torch.int64, device=device)
    logprobs = [rollout.sampling_logprobs for rollout in rollouts]
    known = [one for one in logprobs if one is not None]
    whole = replace(
        rollouts[0],
        prompts=list(prompts),
        group_size=max(sizes),
        completion_ids=_stacked([rollout.completion_ids for rollout in rollouts], pad_id)[rows],
        lengths=torch.cat([rollout.lengths for rollout in rollouts])[rows],
        finish_reasons=[reasons[row] for row in order],
        sampling_logprobs=_stacked(known, 0.0)[rows] if len(known) == len(logprobs) else None,
        sizes=sizes,
    )
    return whole, [texts[row] for row in order], [verdicts[row] for row in order]


def _stacked(parts: Sequence[Tensor], fill: float) -> Tensor:
    width = max(part.shape[1] for part in parts)
    return torch.cat([pad(part, (0, width - part.shape[1]), value=fill) for part in parts])
