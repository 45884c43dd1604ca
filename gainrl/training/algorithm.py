"""The algorithm of a run as one record: what ``conf/algorithm/*.yaml`` holds, checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.aggregation import TruncatedRule
from gainrl.functional.batch_sizes import check_group_size, minibatch_size
from gainrl.functional.objectives import Objective
from gainrl.training.critic import CriticSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplaySettings:
    """Groups of earlier steps in an update (`training.replay`).

    ``share`` of the update's prompts are replayed, on top of ``schedule.prompts_per_step``, once there are enough of
    them; ``capacity`` groups are kept, none for longer than ``max_age`` rollout steps. Raises ValueError for values out
    of range.
    """

    share: float = 0.5
    capacity: int = 512
    max_age: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(
                f"algorithm.replay.share={self.share} must lie inside (0, 1); type algorithm.replay.share=0.5, or "
                "algorithm.replay=null for no replay"
            )
        for name, value in (("capacity", self.capacity), ("max_age", self.max_age)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"algorithm.replay.{name}={value} must be a whole number, 1 or more")

    def prompts_of(self, prompts_per_step: int) -> int:
        """Replayed prompts of an update beside ``prompts_per_step`` new ones."""
        return max(1, round(self.share / (1 - self.share) * prompts_per_step))


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
    ``replay``: ``{share, capacity, max_age}`` of `ReplaySettings`, or None.

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
    replay: Mapping[str, Any] | None = None

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
        if self.replay is not None:
            self._check_replay(self.replay)

    def _check_replay(self, replay: Mapping[str, Any]) -> None:
        unknown = sorted(set(replay) - {field.name for field in fields(ReplaySettings)})
        if unknown:
            raise ValueError(
                f"algorithm.replay has no {', '.join(unknown)}; type algorithm.replay={{share:0.5,capacity:512,"
                "max_age:8}, or algorithm.replay=null"
            )
        ReplaySettings(**replay)
        in_reward = self.objective.beta > 0 and self.objective.kl_placement == "reward"
        apart = self.advantage.compares and self.advantage.scale != "tokens"
        if self.critic is not None or in_reward or not apart:
            raise ValueError(
                "algorithm.replay needs advantages that follow from a group's own rewards, so that a group is worth "
                "the same when it comes back; those of a critic, a tracked value, returns of tokens and a KL in the "
                "reward do not: type algorithm=grpo, or algorithm.replay=null"
            )

    @property
    def replay_settings(self) -> ReplaySettings | None:
        return None if self.replay is None else ReplaySettings(**self.replay)

    def minibatch_of(self, prompts_per_step: int) -> int:
        """Prompts per optimizer step; raises ValueError where they do not divide the step."""
        return minibatch_size(self.minibatch_prompts, prompts_per_step)

    def updates_per_step(self, prompts_per_step: int) -> int:
        """Optimizer steps of a rollout step whose prompts all train."""
        return self.inner_epochs * (prompts_per_step // self.minibatch_of(prompts_per_step))
