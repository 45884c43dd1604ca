"""What a step logs of its rollouts, under the names of docs/metrics.md: TRL's where the meaning is the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from gainrl.allocation.fixed import FixedAllocation
from gainrl.training.collection import Experience
from gainrl.types import (
    Admission,
    AdmissionDecision,
    Allocation,
    GroupOutcome,
    Judgement,
    Problem,
)


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


def admission_metrics(
    admission: Admission, groups: Sequence[GroupOutcome], decision: AdmissionDecision
) -> dict[str, float]:
    """What admission threw away: every rollout is paid for, whether it trains or not.

    Counts over all groups rolled out in a step, given the decision that ended it. ``rollouts`` and ``tokens`` were
    generated; ``wasted_rollouts`` and ``wasted_tokens`` of them do not train, being in rejected groups or left out by
    `Admission.select`. ``effective_prompt_ratio``: share of groups with both verdicts.
    """
    used = [(groups[index], admission.select(groups[index])) for index in decision.kept]
    rollouts = sum(len(group.correct) for group in groups)
    tokens = sum(int(group.lengths.sum()) for group in groups)
    return {
        "admission/groups": float(len(groups)),
        "admission/rejected_groups": float(len(decision.rejected)),
        "admission/rollouts": float(rollouts),
        "admission/wasted_rollouts": float(rollouts - sum(len(chosen) for _, chosen in used)),
        "admission/tokens": float(tokens),
        "admission/wasted_tokens": float(tokens - sum(int(group.lengths[chosen].sum()) for group, chosen in used)),
        "admission/effective_prompt_ratio": sum(group.mixed for group in groups) / max(len(groups), 1),
    }


def source_shares(problems: Sequence[Problem]) -> dict[str, float]:
    """``selection/source_name``: share of the step's prompts from each source."""
    counts = Counter(problem.source_name for problem in problems)
    return {f"selection/source_{name}": counts[name] / len(problems) for name in sorted(counts)}


def allocation_metrics(allocation: Allocation, experience: Experience) -> dict[str, float]:
    """How unequal the groups of a step are; nothing where all have the size that was typed."""
    if isinstance(allocation, FixedAllocation):
        return {}
    sizes = np.array(experience.sizes)
    return {
        "allocation/smallest_group": float(sizes.min()),
        "allocation/largest_group": float(sizes.max()),
        "allocation/unspent_rollouts": float(experience.group_size * len(sizes) - sizes.sum()),
    }


def _mean(values: object) -> float:
    array = np.asarray(values, np.float64)
    return float(array.mean()) if array.size else float("nan")
