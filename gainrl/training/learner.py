"""The update of a step: passes over its mini-batches, each one optimizer step whose gradient comes in micro-batches."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from gainrl.functional.aggregation import add_sums
from gainrl.functional.policy_loss import ObjectiveResult, policy_objective, step_metrics
from gainrl.models.four_bit import packed_names
from gainrl.training.advantages import Mismatch, TokenAdvantages
from gainrl.training.algorithm import Algorithm
from gainrl.training.batching import MiniBatch, plan_minibatches, within_memory
from gainrl.training.collection import Experience
from gainrl.training.concentration import ConcentrationWatch, PromptWatch
from gainrl.training.critic import Critic
from gainrl.training.distributed.ranks import is_sharded, passes, sum_over_ranks, whole
from gainrl.training.masters import Masters
from gainrl.training.runtime import Runtime
from gainrl.training.scorer import Scorer
from gainrl.training.update import Update
from gainrl.training.upkeep.memory import once_in_shards
from gainrl.training.upkeep.nonfinite import NonfiniteGuard


class Learner:
    """Moves the weights of ``module``, whose optimizer, schedule and backward it uses; see `GRPOModule`."""

    def __init__(
        self,
        module: lightning.LightningModule,
        *,
        scorer: Scorer,
        algorithm: Algorithm,
        critic: Critic | None,
        minibatch_prompts: int,
        max_tokens: int,
        max_grad_norm: float,
        guard: NonfiniteGuard,
        watch: PromptWatch,
        mismatch: Mismatch,
        runtime: Runtime,
    ) -> None:
        self.module, self.scorer, self.critic = module, scorer, critic
        self.objective, self.inner_epochs = algorithm.objective, algorithm.inner_epochs
        self.replays = algorithm.replay is not None
        self.sampling_logprobs_BT: Tensor | None = None  # of the last update, for replay
        self.minibatch_prompts, self.max_tokens, self.max_grad_norm = minibatch_prompts, max_tokens, max_grad_norm
        self.guard, self.watch, self.mismatch = guard, watch, mismatch
        self.counters, self.clock, self.ranks = runtime.counters, runtime.clock, runtime.ranks

    @property
    def model(self) -> nn.Module:
        """What trains; the trainer may put it in shards before the first step."""
        return self.scorer.policy.model

    def update(
        self, experience: Experience, kept: list[int], advantages: TokenAdvantages
    ) -> tuple[dict[str, float], np.ndarray | None]:
        """``inner_epochs`` passes over the step's mini-batches.

        Returns metrics under TRL's names, and the concentration ``[P]`` of the prompts (NaN: not in the update).
        """
        plans = plan_minibatches(
            experience,
            kept,
            advantages.advantages_BT,
            advantages.mask_BT,
            self.objective,
            minibatch_prompts=self.minibatch_prompts,
            micro_batch_size=self.scorer.limits.completions,
            micro_batch_tokens=self.scorer.limits.tokens,
            max_tokens=self.max_tokens,
            every_row=self.critic is not None,
            ranks=self.ranks,
        )
        old_BT = self._old_logprobs(experience, plans, advantages)
        # With one mini-batch the first pass runs the sampling policy, so its log-probs serve the later passes.
        keeps = old_BT is None and (self.inner_epochs > 1 or self.replays)
        first_pass_BT = torch.zeros_like(advantages.advantages_BT) if keeps else None
        budget = self.scorer.limits.tokens
        sums: dict[str, Tensor] = {}
        applied: list[dict[str, float]] = []  # metrics of each applied optimizer step
        tokens = 0  # that trained in those steps, whether or not they went through the model
        with self.clock("update"):
            for epoch in range(self.inner_epochs):
                for plan in plans:
                    first = epoch == 0
                    update = Update(
                        plan,
                        experience,
                        advantages,
                        first_pass_BT if old_BT is None and not first else old_BT,
                        first_pass_logprobs_BT=first_pass_BT if first else None,
                        measure_concentration=first,
                        token_budget=budget,
                    )
                    minibatch_sums, step_norms = self.learn_minibatch(update)
                    sums = add_sums(sums, minibatch_sums)
                    if step_norms is not None:
                        applied.append(step_norms)
                        tokens += plan.normalizer.tokens
        if self.replays:
            sampled_BT = old_BT if old_BT is not None else first_pass_BT
            self.sampling_logprobs_BT = None if sampled_BT is None else self.ranks.sum(sampled_BT.clone())
        concentrations_P, metrics = self.watch.take()
        if sums:
            means = step_metrics(sums, tokens=tokens)
            for name in {"policy_loss", "kl_loss"} & set(means):
                means[name] /= max(1, self.inner_epochs * len(plans))
            metrics |= means | self.mismatch.metrics(sums)
        if applied:
            metrics |= {name: float(np.mean([norms[name] for norms in applied])) for name in applied[0]}
        return metrics, concentrations_P

    def _old_logprobs(
        self, experience: Experience, plans: list[MiniBatch], advantages: TokenAdvantages
    ) -> Tensor | None:
        """Log-probabilities ``[B, T]`` of the sampling policy, in the rows that this rank learns from.

        None where one mini-batch takes every pass.
        """
        if len(plans) <= 1:
            return None
        with self.clock("logprobs"), torch.no_grad():
            old_BT = torch.zeros_like(advantages.advantages_BT)
            parts = [rows for plan in plans for rows in plan.micro_batches]
            self.clock.count(sum(int(experience.lengths[plan.rows].sum()) for plan in plans))
            for rows, counts in passes(parts, self.ranks, self.model):
                logprobs_RT = self.scorer.logprobs(self.scorer.policy, experience, rows)
                if counts:
                    old_BT[rows] = logprobs_RT
        return old_BT

    def learn_minibatch(self, update: Update) -> tuple[dict[str, Any], dict[str, float] | None]:
        """One optimizer step; returns additive sums, and its gradient norms before clipping unless it was refused."""
        watches = len(self.watch.watches)
        if is_sharded(self.model):  # a rank that begins again would meet the others at the wrong layer
            sums, loss = once_in_shards(lambda: self._gradients(update), update.plan, self.scorer.limits.tokens)
        else:
            sums, loss = within_memory(
                lambda: self._gradients(update),
                update.plan,
                lambda retries: self._shrink(update, retries, watches),
                self.ranks,
            )
        self.clock.count(int(update.experience.lengths[update.plan.rows].sum()))
        sums, loss = sum_over_ranks(sums, loss, self._summed(), self.model, self.ranks)
        step_norms: dict[str, float] | None
        if len(update.plan.rows):
            step_norms = self._clip(sums)
            if all(map(math.isfinite, (loss, *step_norms.values()))):
                self._apply()
            else:
                self._refuse(update, loss)
                sums, step_norms = {}, None
        else:
            self.counters.skipped_updates += 1
            step_norms = {"grad_norm": 0.0} | ({"value/grad_norm": 0.0, "value_loss": 0.0} if self.critic else {})
        schedulers: Any = self.module.lr_schedulers()
        if schedulers is not None:
            schedulers.step()
        return sums, step_norms

    def _clip(self, sums: dict[str, Any]) -> dict[str, float]:
        """Clips the gradients; returns their norms before, and the critic's loss, which leaves ``sums``."""
        clip = nn.utils.clip_grad_norm_
        norms = {"grad_norm": float(whole(clip(self._of_policy(), self.max_grad_norm)))}
        if self.critic is not None:
            norms["value/grad_norm"] = float(clip(self.critic.parameters(), self.max_grad_norm))
            norms["value_loss"] = float(sums.pop("value_loss"))
        return norms

    def _of_policy(self) -> list[nn.Parameter]:
        """The policy's parameters that have gradients after the backward passes."""
        return list(self.masters.parameters() if self.masters is not None else self.model.parameters())

    def _summed(self) -> list[nn.Parameter]:
        """Parameters whose gradients each rank has a part of; those in shards were summed in their backward passes."""
        policy = [] if is_sharded(self.model) else self._of_policy()
        return policy + (list(self.critic.parameters()) if self.critic is not None else [])

    @property
    def masters(self) -> Masters | None:
        return getattr(self.module, "masters", None)

    def _apply(self) -> None:
        self.module.optimizers().step()  # type: ignore[union-attr]
        if self.masters is not None:
            self.masters.round()
        if not is_sharded(self.model):  # else the policy changes when it takes over the weights
            self.scorer.policy.touch()
        self.counters.updates += 1
        self.counters.nonfinite_in_a_row = 0

    def _refuse(self, update: Update, loss: float) -> None:
        """Leaves weights and optimizer as they are, since the update is not finite."""
        counters = self.counters
        self.module.optimizers().zero_grad()  # type: ignore[union-attr]
        counters.nonfinite_updates += 1
        counters.nonfinite_in_a_row += 1
        packed = packed_names(self.model)
        weights = {name: value for name, value in self.model.state_dict().items() if name not in packed}
        self.guard.note(
            update.with_all_micro_batches(self.ranks),
            loss,
            whole(weights, keep=self.ranks.leads),
            None if self.critic is None else self.critic.state_dict(),
            step=counters.step + 1,
            in_a_row=counters.nonfinite_in_a_row,
        )

    def _gradients(self, update: Update) -> tuple[dict[str, Any], float]:
        """Fills the gradients of a mini-batch; returns its additive sums and its loss."""
        self.module.optimizers().zero_grad()  # type: ignore[union-attr]
        self.model.train()
        if self.critic is not None:
            self.critic.train()
        sums: dict[str, Any] = {}
        losses: list[Tensor] = []
        for rows, counts in passes(update.plan.micro_batches, self.ranks, self.model):
            if not counts:
                idle = replace(update, first_pass_logprobs_BT=None)
                self.module.manual_backward(0.0 * self.micro_batch_loss(idle, rows).loss)
                continue
            watch = self.watch.over(update.experience, rows) if update.measure_concentration else None
            result = self.micro_batch_loss(update, rows, watch)
            self.module.manual_backward(result.loss)
            if self.masters is not None:
                self.masters.take_gradients()
            losses.append(result.loss.detach())
            sums = add_sums(sums, result.sums)
            self.clock.tell(f"{len(losses)}/{len(update.plan.micro_batches)} passes")
        return sums, float(sum(losses))

    def micro_batch_loss(
        self, update: Update, rows: Tensor, watch: ConcentrationWatch | None = None
    ) -> ObjectiveResult:
        """The share of a mini-batch's loss that the completions ``rows`` contribute, the critic's included."""
        advantages, experience = update.advantages, update.experience
        shared = self.critic is not None and self.critic.trunk is None
        scored = self.scorer.scored(
            self.scorer.policy,
            experience,
            rows,
            with_entropy=True,
            watch=watch,
            value_head=self.critic if shared else None,
        )
        new_RT, entropies_RT = scored.logprobs, scored.entropies
        assert new_RT is not None
        if update.first_pass_logprobs_BT is not None:
            update.first_pass_logprobs_BT[rows] = new_RT.detach()
        if self.objective.entropy_coefficient == 0 and entropies_RT is not None:
            entropies_RT = entropies_RT.detach()  # logged only
        old_RT = experience.as_sampled(new_RT.detach() if update.old_BT is None else update.old_BT[rows], rows)
        engine_BT, mask_RT = experience.engine_logprobs, advantages.mask_BT[rows]
        engine_RT = None if engine_BT is None else engine_BT[rows]
        advantages_RT, differences = self.mismatch.weigh(advantages.advantages_BT[rows], old_RT, engine_RT, mask_RT)
        result = policy_objective(
            logprobs_BT=new_RT,
            old_logprobs_BT=old_RT,
            advantages_BT_or_B=advantages_RT,
            mask_BT=mask_RT,
            settings=self.objective,
            normalizer=update.plan.normalizer,
            reference_logprobs_BT=None if advantages.reference_BT is None else advantages.reference_BT[rows],
            entropies_BT=entropies_RT,
        )
        result = ObjectiveResult(loss=result.loss, sums=result.sums | differences)
        if self.critic is None or advantages.estimates is None:
            return result
        values_RT = scored.values if scored.values is not None else self.scorer.values(experience, rows)
        value_loss = self.critic.loss(values_RT, rows, advantages.estimates, advantages.mask_BT, update.plan.normalizer)
        return ObjectiveResult(
            loss=result.loss + self.critic.settings.value.coefficient * value_loss,
            sums=result.sums | {"value_loss": value_loss.detach()},
        )

    def _shrink(self, update: Update, retries: int, watches: int) -> None:
        """After a mini-batch ran out of memory: nothing has moved yet, and later steps keep the smaller size."""
        del self.watch.watches[watches:]
        self.module.optimizers().zero_grad()  # type: ignore[union-attr]
        limits = self.scorer.limits
        limits.tokens = min(limits.tokens, max(1, update.token_budget >> retries))
        self.counters.memory_retries += 1
        warnings.warn(
            f"step {self.counters.step + 1}: out of memory in the update; micro-batches are halved and later steps "
            f"begin with algorithm.micro_batch_tokens={limits.tokens}",
            stacklevel=2,
        )
