"""One rollout round in shares: each rank works on some of the prompts, and all get the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch.nn.functional import pad

from gainrl.training.distributed.ranks import Ranks
from gainrl.types import PromptBatch, Rollout, Verdict

Judged: TypeAlias = tuple[Rollout, list[str], list[Verdict]]
"""A rollout with the texts and verdicts of its completions."""


def in_shares(work: Callable[[PromptBatch], Judged], batch: PromptBatch, ranks: Ranks, pad_id: int) -> Judged:
    """``work(batch)``, shared among all ranks; with several of them the result is in the memory of the host."""
    if ranks.size == 1:
        return work(batch)

    def groups(places: Sequence[int]) -> list[tuple[Any, ...]]:
        rollout, texts, verdicts = work(batch.part(places))
        ids, lengths = rollout.completion_ids.cpu(), rollout.lengths.cpu()
        logprobs = None if rollout.sampling_logprobs is None else rollout.sampling_logprobs.cpu()
        parts = [slice(start, start + rollout.group_size) for start in range(0, len(texts), rollout.group_size)]
        # Clones: a view travels with all that it is a view of.
        return [
            (
                ids[part].clone(),
                lengths[part].clone(),
                None if logprobs is None else logprobs[part].clone(),
                rollout.finish_reasons[part],
                texts[part],
                verdicts[part],
            )
            for part in parts
        ]

    ids, lengths, logprobs, reasons, texts, verdicts = zip(*ranks.map(groups, range(len(batch))), strict=True)
    width = max(group.shape[1] for group in ids)

    def padded(parts: Sequence[torch.Tensor], value: float) -> torch.Tensor:
        return torch.cat([pad(part, (0, width - part.shape[1]), value=value) for part in parts])

    whole = Rollout(
        prompts=batch.prompts,
        group_size=len(lengths[0]),
        completion_ids=padded(ids, pad_id),
        lengths=torch.cat(lengths),
        finish_reasons=list(chain(*reasons)),
        sampling_logprobs=None if logprobs[0] is None else padded(logprobs, 0.0),
    )
    return whole, list(chain(*texts)), list(chain(*verdicts))
