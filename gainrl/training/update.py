"""One step's update: from advantages to gradients, in mini-batches and micro-batches that change memory only.

A *mini-batch* is what one optimizer step learns from; its counts normalise the loss. A *micro-batch* is what goes
through the model at once. Log-probabilities of the sampling policy are computed by the training forward itself, in the
same micro-batches as the update, so that the ratio of the first update is exactly 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gainrl.functional.aggregation import Normalizer
from gainrl.functional.batching import pack_by_tokens
from gainrl.functional.objectives import Objective
from gainrl.training.advantages import TokenAdvantages
from gainrl.training.distributed.ranks import Ranks
from gainrl.training.experience import Experience


@dataclass(slots=True)
class MiniBatch:
    """Completions (rows of the experience) of one optimizer step, and this rank's micro-batches of them.

    ``rows`` are those of all ranks whose loss can have a gradient; ``normalizer`` counts the others as well.
    """

    rows: Tensor
    micro_batches: list[Tensor]
    normalizer: Normalizer

    def halve(self) -> bool:
        """Cuts every micro-batch in two; False if all of them hold a single completion."""
        if all(len(rows) <= 1 for rows in self.micro_batches):
            return False
        self.micro_batches = [half for rows in self.micro_batches for half in rows.tensor_split(2) if len(half)]
        return True


@dataclass(slots=True)
class Update:
    """What one optimizer step learns from (`training.learner`).

    ``old_BT``: ``[B, T]`` log-probabilities of the sampling policy, None where it is the current one.
    ``first_pass_logprobs_BT``: where the forwards of the first pass leave theirs for later passes.
    ``measure_concentration``: whether the forwards of this update are watched. ``token_budget``: tokens of a
    micro-batch when the step began.
    """

    plan: MiniBatch
    experience: Experience
    advantages: TokenAdvantages
    old_BT: Tensor | None
    first_pass_logprobs_BT: Tensor | None = None
    measure_concentration: bool = False
    token_budget: int = 1

    def with_all_micro_batches(self, ranks: Ranks) -> Update:
        """The update with the micro-batches of all ranks, so that one process can recompute it."""
        if ranks.size == 1:
            return self
        micro = [rows for part in ranks.gather(self.plan.micro_batches) for rows in part]
        old_BT = None if self.old_BT is None else ranks.sum(self.old_BT.clone())
        return replace(self, plan=replace(self.plan, micro_batches=micro), old_BT=old_BT)


def trainable_rows(advantages_BT: Tensor, mask_BT: Tensor, objective: Objective) -> Tensor:
    """Rows ``[R]`` whose loss has a gradient at all.

    Without a KL in the loss and without an entropy bonus, a completion with zero advantage contributes an exact zero to
    every gradient. In micro-batches of their own such rows change no bit of the optimizer step, so that leaving them
    out gives the same weights. Among other rows they change the shapes of matrix products, and with those the rounding
    of the others' gradients, by about 1e-7 of their size.
    """
    has_tokens = mask_BT.any(dim=1)
    only_policy_term = objective.entropy_coefficient == 0 and not (
        objective.beta > 0 and objective.kl_placement == "loss"
    )
    if only_policy_term:
        has_tokens &= (advantages_BT != 0).any(dim=1)
    return has_tokens.nonzero().squeeze(1)


def plan_minibatches(
    experience: Experience,
    kept_prompts: list[int],
    advantages_BT: Tensor,
    mask_BT: Tensor,
    objective: Objective,
    *,
    minibatch_prompts: int,
    micro_batch_size: int | None,
    micro_batch_tokens: int,
    max_tokens: int,
    every_row: bool = False,
    ranks: Ranks | None = None,
) -> list[MiniBatch]:
    """Splits the kept prompts, in the order of their draw, into mini-batches of ``minibatch_prompts``.

    ``every_row``: rows without a policy gradient take part as well, since a critic learns from them. The groups of a
    mini-batch are dealt out to ``ranks``, the longest first.
    """
    ranks = ranks or Ranks()
    size = experience.group_size
    prompts = experience.prompts
    lengths = experience.lengths.cpu()
    prompt_lengths = torch.tensor([len(prompt) for prompt in prompts])
    with_tokens = mask_BT.any(dim=1).nonzero().squeeze(1)
    learning = with_tokens if every_row else trainable_rows(advantages_BT, mask_BT, objective)
    trainable = set(learning.tolist())
    plans = []
    for start in range(0, len(kept_prompts), minibatch_prompts):
        members = [p * size + g for p in kept_prompts[start : start + minibatch_prompts] for g in range(size)]
        rows = torch.tensor([row for row in members if row in trainable], dtype=torch.int64)
        micro: list[Tensor] = []
        mine = _share(rows, size, lengths, prompt_lengths, ranks)
        if len(mine):
            # Groups stay together, so that their members share the prompt's forward.
            for picked in pack_by_tokens(lengths[mine], micro_batch_tokens, mine // size, prompt_lengths):
                micro.extend(mine[picked].split(micro_batch_size or len(picked)))
        normalizer = Normalizer.of_step(mask_BT[torch.tensor(members)], max_tokens)
        plans.append(MiniBatch(rows, micro, normalizer))
    return plans


def _share(rows: Tensor, size: int, lengths: Tensor, prompt_lengths: Tensor, ranks: Ranks) -> Tensor:
    """The rows of the groups that this rank learns from, in their order."""
    if ranks.size == 1:
        return rows
    tokens = prompt_lengths.clone().index_add_(0, rows // size, lengths[rows])
    groups = (rows // size).unique()
    longest_first = groups[tokens[groups].argsort(descending=True, stable=True)]
    return rows[torch.isin(rows // size, longest_first[ranks.rank :: ranks.size])]
