"""What one step collected: completions, verdicts and groups, over all rollout rounds; and what it logs of them.

Names are those of docs/metrics.md, TRL's where the meaning is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gainrl.types import FinishReason, GroupOutcome, Judgement, Problem, PromptBatch, PromptTokens, Rollout, Verdict


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


def experience_metrics(
    experience: Experience, advantages_B: np.ndarray, concentrations_P: np.ndarray | None = None
) -> dict[str, float]:
    """Means over one step's completions, before any of them is rejected.

    ``reward`` and ``reward_std``: mean over groups of their mean and (sample) standard deviation, valid completions
    only. ``accuracy``: share of correct completions among the valid. ``informative_groups``: share of groups that hold
    both correct and wrong completions. ``frac_reward_zero_std``: share of groups whose rewards are all equal.
    ``outcomes/name``: share of the completions with that outcome, where the reward names outcomes.
    ``selection/level_k``: share of the step's prompts from level k. ``concentration``: mean over the prompts that the
    update ran (``concentrations_P``, NaN for the others). ``entropy/sampled``: mean negative log-probability of the
    tokens as the engine drew them, an estimate of the entropy over all completions that costs nothing.
    """
    groups = [group for group in experience.groups if group.valid.any()]
    rewards = [group.rewards[group.valid] for group in groups]
    lengths = experience.lengths.cpu().numpy()
    truncated = experience.truncated.cpu().numpy()
    counts = Counter(verdict.judgement for verdict in experience.verdicts)
    total = max(len(experience.verdicts), 1)
    row = {
        "reward": _mean([r.mean() for r in rewards]),
        "reward_std": _mean([r.std(ddof=1) if len(r) > 1 else 0.0 for r in rewards]),
        "accuracy": _mean(np.concatenate([g.correct[g.valid] for g in groups])) if groups else float("nan"),
        "informative_groups": sum(group.mixed for group in experience.groups) / max(len(experience.groups), 1),
        "frac_reward_zero_std": _mean([float(np.ptp(r) == 0) for r in rewards]),
        "mean_abs_advantage": float(np.abs(advantages_B).mean()),
        "completions/mean_length": float(lengths.mean()),
        "completions/min_length": float(lengths.min()),
        "completions/max_length": float(lengths.max()),
        "completions/clipped_ratio": float(truncated.mean()),
        "excluded_completions": float(sum(verdict.excluded for verdict in experience.verdicts)),
        **{f"verdicts/{judgement}": counts[judgement] / total for judgement in Judgement},
    }
    if experience.engine_logprobs is not None:
        columns = torch.arange(experience.engine_logprobs.shape[1])
        drawn_BT = columns[None] < experience.lengths.cpu()[:, None]
        row["entropy/sampled"] = -float(experience.engine_logprobs.cpu()[drawn_BT].double().mean())
    outcomes = Counter(verdict.outcome for verdict in experience.verdicts if verdict.outcome)
    row |= {f"outcomes/{outcome}": count / total for outcome, count in outcomes.items()}
    levels = Counter(problem.level for problem in experience.problems if problem.level is not None)
    for level in sorted(levels):
        row[f"selection/level_{level}"] = levels[level] / len(experience.problems)
    if concentrations_P is not None and not np.isnan(concentrations_P).all():
        row["concentration"] = float(np.nanmean(concentrations_P))
    names = sorted({name for verdict in experience.verdicts for name in verdict.components})
    for name in names:
        values = np.array([v.components[name] for v in experience.verdicts if name in v.components])
        row[f"rewards/{name}/mean"] = float(values.mean())
        row[f"rewards/{name}/std"] = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return row


def _mean(values: object) -> float:
    array = np.asarray(values, np.float64)
    return float(array.mean()) if array.size else float("nan")
