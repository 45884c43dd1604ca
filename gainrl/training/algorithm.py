"""The algorithm of a run as one record: what ``conf/algorithm/*.yaml`` holds, checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.aggregation import TruncatedRule
from gainrl.functional.batch_sizes import check_group_size, minibatch_size
from gainrl.functional.objectives import Objective
from gainrl.training.critic import CriticSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Algorithm:
    """How completions become optimizer steps.

    ``objective``, ``advantage`` and ``critic`` hold the formula; with a critic, values take the place of the comparison
    within groups. A rollout step makes ``inner_epochs`` passes over its prompts, ``minibatch_prompts`` of them (None:
    all) per optimizer step. ``micro_batch_size`` (completions, None for no limit) and ``micro_batch_tokens`` limit what
    goes through the model at once and change memory only.

    ``truncated``: completions cut at the limit train (``keep``), count in their group without training (``mask``) or
    leave it (``exclude``). ``overlong``: ``{buffer_fraction}`` of DAPO's length penalty, or None. ``reference_sync``:
    ``{every, mixing}``, a period in rollout steps and the share of the policy that moves into the reference, or None.

    Raises ValueError where values are out of range or contradict each other.
    """

    objective: Objective
    advantage: AdvantageSettings
    critic: CriticSettings | None = None
    group_size: int
    inner_epochs: int = 1
    minibatch_prompts: int | None = None
    micro_batch_size: int | None = None
    micro_batch_tokens: int = 16384
    truncated: TruncatedRule = "keep"
    overlong: Mapping[str, float] | None = None
    reference_sync: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        check_group_size(self.group_size, compares=self.advantage.compares)
        if self.inner_epochs < 1:
            raise ValueError(f"algorithm.inner_epochs={self.inner_epochs} would learn from nothing; type 1 or more")
        if self.micro_batch_size is not None and self.micro_batch_size < 1:
            raise ValueError(
                f"algorithm.micro_batch_size={self.micro_batch_size} must be 1 or more, or null for no limit"
            )
        if self.micro_batch_tokens < 1:
            raise ValueError(f"algorithm.micro_batch_tokens={self.micro_batch_tokens} must be 1 or more")
        if self.truncated not in get_args(TruncatedRule):
            raise ValueError(f"algorithm.truncated={self.truncated!r} is unknown; use keep, mask or exclude")
        penalty, sync = self.overlong, self.reference_sync
        if penalty is not None and not (set(penalty) == {"buffer_fraction"} and 0 < penalty["buffer_fraction"] <= 1):
            raise ValueError(
                f"algorithm.overlong={dict(penalty)} must name the share of the limit in which completions start to "
                "cost, in (0, 1]; type algorithm.overlong={buffer_fraction:0.2}, or algorithm.overlong=null"
            )
        if sync is not None and not (
            set(sync) == {"every", "mixing"} and sync["every"] >= 1 and 0 < sync["mixing"] <= 1
        ):
            raise ValueError(
                f"algorithm.reference_sync={dict(sync)} must name a period in steps and a share in (0, 1]; type "
                "algorithm.reference_sync={every:64,mixing:0.6}, or algorithm.reference_sync=null"
            )
        if self.critic is not None:
            self.critic.check(self.advantage)

    def minibatch_of(self, prompts_per_step: int) -> int:
        """Prompts per optimizer step; raises ValueError where they do not divide the step."""
        return minibatch_size(self.minibatch_prompts, prompts_per_step)

    def updates_per_step(self, prompts_per_step: int) -> int:
        """Optimizer steps of a rollout step whose prompts all train."""
        return self.inner_epochs * (prompts_per_step // self.minibatch_of(prompts_per_step))
