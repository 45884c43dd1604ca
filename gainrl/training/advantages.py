"""From verdicts to what the update learns from: advantages, the tokens that train, and the reference's log-probs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from gainrl.functional.kl import kl_estimate
from gainrl.functional.masks import training_masks
from gainrl.functional.returns import step_advantages
from gainrl.training.algorithm import Algorithm
from gainrl.training.clock import PhaseClock
from gainrl.training.critic import Critic, Estimates
from gainrl.training.experience import Experience
from gainrl.training.reference import Reference
from gainrl.training.scorer import Scorer
from gainrl.types import Admission


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

    def estimate(self, experience: Experience, kept: Sequence[int]) -> TokenAdvantages:
        """The advantages of the step's completions, of which those of the prompts ``kept`` train.

        Completions that admission does not select leave the statistics of their group (PODS, arXiv 2504.13818).
        """
        device, settings = self.scorer.policy.device, self.algorithm.advantage
        rewards_PG = torch.tensor(
            np.stack([group.rewards for group in experience.groups]), dtype=torch.float32, device=device
        )
        valid_PG, mask_BT = self._training_masks(experience, kept, device)
        rows = mask_BT.any(dim=1).nonzero().squeeze(1)
        metrics: dict[str, float] = {}
        scored_BT = self._real_tokens(experience, device) & valid_PG.reshape(-1)[:, None]
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
            estimates = self.critic.estimates(
                rewards_PG.reshape(-1), values_BT, mask_BT, settings, kl_BT=kl_BT, beta=beta
            )
            metrics |= estimates.metrics(mask_BT)
            return TokenAdvantages(estimates.advantages_BT, mask_BT, reference_BT, estimates, metrics)
        advantages_BT = step_advantages(
            rewards_PG=rewards_PG,
            valid_PG=valid_PG,
            mask_BT=mask_BT,
            settings=settings,
            kl_BT=kl_BT,
            beta=beta,
            scored_BT=scored_BT,
        )
        return TokenAdvantages(advantages_BT, mask_BT, reference_BT, metrics=metrics)

    def _training_masks(
        self, experience: Experience, kept: Sequence[int], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """``valid_PG`` of the groups' statistics and ``mask_BT`` of the tokens that train."""
        valid_PG = torch.zeros(len(experience.groups), experience.group_size, dtype=torch.bool)
        for index in kept:
            group = experience.groups[index]
            valid_PG[index] = torch.from_numpy(group.valid)
            chosen = torch.zeros_like(valid_PG[index])
            chosen[torch.from_numpy(np.asarray(self.admission.select(group)))] = True
            valid_PG[index] &= chosen
        return training_masks(
            mask_BT=self._real_tokens(experience, device),
            valid_PG=valid_PG.to(device),
            truncated_PG=experience.truncated.to(device).reshape(valid_PG.shape),
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
