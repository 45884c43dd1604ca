"""What one optimizer step learns from, as one record: `training.learner` runs it, `upkeep.nonfinite` stores it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from gainrl.training.advantages import TokenAdvantages
from gainrl.training.batching import MiniBatch
from gainrl.training.collection import Experience
from gainrl.training.distributed.ranks import Ranks


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
