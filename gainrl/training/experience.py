"""What one step collected: completions, verdicts and groups, over all rollout rounds of the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gainrl.types import FinishReason, GroupOutcome, Problem, PromptBatch, PromptTokens, Rollout, Verdict


def _stacked(known_BT: Tensor, new_BT: Tensor, fill: int) -> Tensor:
    """Rows of both, the narrower ones filled up on the right."""
    width = max(known_BT.shape[1], new_BT.shape[1])
    rows = known_BT.to(new_BT.device), new_BT
    return torch.cat([pad(row, (0, width - row.shape[1]), value=fill) for row in rows])


def _empty(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.zeros(*shape, dtype=dtype)


@dataclass(slots=True)
class Experience:
    """``P`` prompts and their groups of completions; completion ``g`` of prompt ``p`` is row ``p * G + g``.

    ``pool_rows``: ``P`` places in the pool; ``completion_ids``: ``[B, T]`` int64, ``B = P * G``, right-padded with
    ``pad_id``; ``lengths``: ``[B]``; ``truncated``: ``[B]`` bool; ``texts`` and ``verdicts``: ``B`` of each.
    ``engine_logprobs``: ``[B, T]`` of the engine that sampled, None where it has none.
    """

    group_size: int
    pad_id: int
    pool_rows: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    prompts: list[PromptTokens] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    groups: list[GroupOutcome] = field(default_factory=list)
    completion_ids: Tensor = field(default_factory=lambda: _empty(0, 0))
    lengths: Tensor = field(default_factory=lambda: _empty(0))
    truncated: Tensor = field(default_factory=lambda: _empty(0, dtype=torch.bool))
    engine_logprobs: Tensor | None = None

    def add(
        self,
        batch: PromptBatch,
        rollout: Rollout,
        texts: Sequence[str],
        verdicts: Sequence[Verdict],
        groups: Sequence[GroupOutcome],
    ) -> None:
        """Appends one round; completions of rounds of different width are padded to the widest."""
        self.pool_rows.extend(int(row) for row in batch.rows)
        self.problems.extend(batch.problems)
        self.prompts.extend(batch.prompts)
        self.texts.extend(texts)
        self.verdicts.extend(verdicts)
        self.groups.extend(groups)
        self.completion_ids = _stacked(self.completion_ids, rollout.completion_ids, self.pad_id)
        if rollout.sampling_logprobs is not None:
            known = _empty(0, 0, dtype=torch.float32) if self.engine_logprobs is None else self.engine_logprobs
            self.engine_logprobs = _stacked(known, rollout.sampling_logprobs, 0)
        self.lengths = torch.cat([self.lengths.to(rollout.lengths.device), rollout.lengths])
        self.truncated = torch.cat([self.truncated.to(rollout.truncated.device), rollout.truncated])


def outcomes(
    batch: PromptBatch,
    rollout: Rollout,
    verdicts: Sequence[Verdict],
    rewards: np.ndarray,
    *,
    step: int,
) -> list[GroupOutcome]:
    """One `GroupOutcome` per prompt; ``rewards``: ``[P * G]``, shaping included.

    A completion that was cut keeps its verdict here, whatever the rule that decides whether it trains.
    """
    size = rollout.group_size
    correct = np.array([verdict.correct for verdict in verdicts])
    valid = ~np.array([verdict.excluded for verdict in verdicts])
    truncated = np.array([reason is FinishReason.LENGTH for reason in rollout.finish_reasons])
    lengths = rollout.lengths.cpu().numpy()
    return [
        GroupOutcome(
            row=int(row),
            step=step,
            rewards=rewards[place : place + size],
            correct=correct[place : place + size],
            lengths=lengths[place : place + size],
            truncated=truncated[place : place + size],
            valid=valid[place : place + size],
        )
        for row, place in zip(batch.rows, range(0, len(batch) * size, size), strict=True)
    ]
