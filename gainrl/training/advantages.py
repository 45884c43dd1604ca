"""Per-token advantages and training mask of a step, and what corrects them for an engine that samples differently."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from gainrl.functional.advantages import in_groups, step_advantages
from gainrl.functional.aggregation import training_masks
from gainrl.functional.policy_loss import importance_weights, kl_estimate, logprob_difference, with_advantage
from gainrl.training.algorithm import Algorithm
from gainrl.training.collection import Experience
from gainrl.training.critic import Critic, Estimates
from gainrl.training.runtime import PhaseClock
from gainrl.training.scorer import Reference, Scorer
from gainrl.types import Admission, SamplingParams


@dataclass(frozen=True, slots=True)
class TokenAdvantages:
    """Per-token advantages and training mask: ``advantages_BT`` and ``mask_BT`` ``[B, T]``.

    ``reference_BT``: the reference's log-probabilities where the objective uses them; ``estimates``: the critic's.
    """

    advantages_BT: Tensor
    mask_BT: Tensor
    reference_BT: Tensor | None = None
    estimates: Estimates | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def per_completion(self) -> np.ndarray:
        """``[B]``: mean advantage of the tokens that train, 0 without any."""
        sums_B = self.advantages_BT.sum(dim=1)
        return (sums_B / self.mask_BT.sum(dim=1).clamp(min=1)).detach().cpu().numpy()


@dataclass(frozen=True, slots=True)
class AdvantageEstimator:
    """Compares completions within their groups, or with the critic's values; see `GRPOModule` for the arguments."""

    scorer: Scorer
    algorithm: Algorithm
    admission: Admission
    reference: Reference | None
    critic: Critic | None
    clock: PhaseClock

    def estimate(
        self, experience: Experience, kept: Sequence[int], values_P: np.ndarray | None = None
    ) -> TokenAdvantages:
        """The advantages of the step's completions; the prompts ``kept`` train.

        ``values_P``: the tracked values of the step's prompts, for ``advantage.baseline=tracker``.

        Completions that admission does not select leave the statistics of their group (PODS, arXiv 2504.13818).
        """
        device, settings = self.scorer.policy.device, self.algorithm.advantage
        rewards = np.concatenate([group.rewards for group in experience.groups])
        rewards_B = torch.tensor(rewards, dtype=torch.float32, device=device)
        valid_B, mask_BT = self._training_masks(experience, kept, device)
        rows = mask_BT.any(dim=1).nonzero().squeeze(1)
        metrics: dict[str, float] = {}
        scored_BT = self._real_tokens(experience, device) & valid_B[:, None]
        compared = scored_BT.any(dim=1).nonzero().squeeze(1)
        # In the reward the KL is a cost of every completion that is compared, whether it trains or not.
        in_reward = self.critic is None and self.algorithm.objective.kl_placement == "reward"
        reference_BT, kl_BT = self._reference(experience, compared if in_reward else rows)
        if kl_BT is not None:
            metrics["kl"] = float((kl_BT * mask_BT).sum() / mask_BT.sum().clamp(min=1))
        beta = self.algorithm.objective.beta if kl_BT is not None else 0.0
        if self.critic is not None:
            with self.clock("values"), torch.no_grad():
                self.clock.count(int(experience.lengths[rows.cpu()].sum()))
                values_BT = self.scorer.in_parts(experience, rows, self.scorer.values)
            estimates = self.critic.estimates(rewards_B, values_BT, mask_BT, settings, kl_BT=kl_BT, beta=beta)
            metrics |= estimates.metrics(mask_BT)
            return TokenAdvantages(estimates.advantages_BT, mask_BT, reference_BT, estimates, metrics)
        shape, places_B = experience.places(device)
        advantages_BT = step_advantages(
            rewards_PG=in_groups(rewards_B, shape, places_B),
            valid_PG=in_groups(valid_B, shape, places_B),
            mask_BT=mask_BT,
            settings=settings,
            kl_BT=kl_BT,
            beta=beta,
            scored_BT=scored_BT,
            places_B=places_B,
            values_P=None if values_P is None else torch.from_numpy(values_P).to(device),
        )
        return TokenAdvantages(advantages_BT, mask_BT, reference_BT, metrics=metrics)

    def _training_masks(
        self, experience: Experience, kept: Sequence[int], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """``valid_B`` of the groups' statistics and ``mask_BT`` of the tokens that train."""
        valid_B = torch.zeros(len(experience.lengths), dtype=torch.bool)
        for index in kept:
            group, rows = experience.groups[index], experience.rows_of(index)
            chosen = torch.zeros(len(rows), dtype=torch.bool)
            chosen[torch.from_numpy(np.asarray(self.admission.select(group)))] = True
            valid_B[rows.start : rows.stop] = torch.from_numpy(group.valid) & chosen
        return training_masks(
            mask_BT=self._real_tokens(experience, device),
            valid_PG=valid_B.to(device),
            truncated_PG=experience.truncated.to(device),
            rule=self.algorithm.truncated,
        )

    @staticmethod
    def _real_tokens(experience: Experience, device: torch.device) -> Tensor:
        columns = torch.arange(experience.completion_ids.shape[1], device=device)
        return columns[None, :] < experience.lengths.to(device)[:, None]

    def _reference(self, experience: Experience, rows: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The reference's log-probabilities, and the sampling policy's KL to it where that is part of the reward."""
        if self.reference is None:
            return None, None
        scorer, objective, kl_BT = self.scorer, self.algorithm.objective, None
        tokens = int(experience.lengths[rows.cpu()].sum())
        with self.clock("logprobs"):
            self.clock.count(tokens)
            with self.reference.active() as reference:
                reference_BT = scorer.in_parts(experience, rows, partial(scorer.logprobs, reference))
            if objective.kl_placement == "reward":
                self.clock.count(tokens)
                with torch.no_grad():
                    sampled_BT = scorer.in_parts(experience, rows, partial(scorer.logprobs, scorer.policy))
                kl_BT = kl_estimate(sampled_BT, reference_BT, objective.kl_estimator)
        return reference_BT, kl_BT


OnAlarm = Literal["warn", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Watches the difference between the engine's log-probs and the training forward's, and corrects for it.

    ``alarm``: mean absolute difference (nats per token) above which ``on_alarm`` happens, or None. ``importance_cap``:
    cap of the truncated importance weights (`functional.policy_loss`) that multiply the policy term, or None for no
    weights. Raises ValueError for values out of range.
    """

    alarm: float | None = None
    on_alarm: OnAlarm = "warn"
    importance_cap: float | None = None

    def __post_init__(self) -> None:
        if self.alarm is not None and not self.alarm > 0:
            raise ValueError(f"rollout.mismatch.alarm={self.alarm!r} must be a number > 0, such as 0.1, or null")
        if self.on_alarm not in get_args(OnAlarm):
            raise ValueError(f"rollout.mismatch.on_alarm={self.on_alarm!r} is unknown; use warn or stop")
        if self.importance_cap is not None and not 1 <= self.importance_cap < float("inf"):
            raise ValueError(
                f"rollout.mismatch.importance_cap={self.importance_cap!r} must be a finite number, 1 or more, such as "
                "2.0, or null"
            )

    def check(self, sampling: SamplingParams) -> None:
        """Raises ValueError where the weights would compare two different distributions."""
        if self.importance_cap is not None and (sampling.top_p < 1 or sampling.top_k > 0):
            raise ValueError(
                "rollout.mismatch.importance_cap weighs the tempered softmax, but top_p and top_k cut it; type "
                "rollout.top_p=1 rollout.top_k=0, or rollout.mismatch.importance_cap=null"
            )

    def weigh(
        self, advantages_BT: Tensor, training_BT: Tensor, engine_BT: Tensor | None, mask_BT: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Advantages times the importance weights, and additive sums of the difference (empty without ``engine_BT``).

        The sums are over the tokens of completions with an advantage, the only ones that run under every setting.

        The policy term is proportional to the advantage under every clip, so that this weighs the term itself.
        Raises RuntimeError where weights are wanted and the engine gave no log-probs.
        """
        if engine_BT is None:
            if self.importance_cap is not None:
                raise RuntimeError(
                    "rollout.mismatch.importance_cap needs the engine's log-probs, and this engine returned none; "
                    "type rollout.mismatch.importance_cap=null"
                )
            return advantages_BT, {}
        engine_BT = engine_BT.to(training_BT.device)
        informative_BT = with_advantage(advantages_BT, mask_BT)
        sums = logprob_difference(training_BT, engine_BT, informative_BT)
        if self.importance_cap is not None:
            weights_BT = importance_weights(training_BT, engine_BT, mask_BT, self.importance_cap)
            advantages_BT = advantages_BT * weights_BT
            sums["weight"] = (weights_BT * informative_BT).sum()
        return advantages_BT, {f"{_SUMS}{name}": value for name, value in sums.items()}

    def metrics(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """Metrics of a step from its added-up sums; warns, or raises RuntimeError, where the mean passes ``alarm``."""
        totals = {name.removeprefix(_SUMS): float(value) for name, value in sums.items() if name.startswith(_SUMS)}
        if not totals:
            return {}
        tokens = max(totals["tokens"], 1.0)
        row = {
            "rollout/logprob_difference_mean": totals["sum"] / tokens,
            "rollout/logprob_difference_max": totals["max"],
        }
        if "weight" in totals:
            row["rollout/importance_weight_mean"] = totals["weight"] / tokens
        mean = row["rollout/logprob_difference_mean"]
        if self.alarm is not None and not mean <= self.alarm:  # NaN alarms as well
            text = (
                f"the engine's log-probs differ from the training forward's by {mean:.3g} nats per token, more than "
                f"rollout.mismatch.alarm={self.alarm:g}: it samples from another policy than the one that learns. "
                "Type rollout.engine.dtype=auto (the precision of training) with rollout=vllm, or rollout=hf, or "
                "correct with rollout.mismatch.importance_cap=2.0"
            )
            if self.on_alarm == "stop":
                raise RuntimeError(text)
            warnings.warn(text, stacklevel=2)
        return row


_SUMS = "logprob_difference/"
