"""GRPO as a LightningModule: roll out, judge, compare within groups, update. With a critic it is PPO (`critic`).

One `training_step` is one *rollout step*: ``prompts_per_step`` prompts with ``group_size`` completions each, and
``inner_epochs`` passes of one or more optimizer steps over them. Optimisation is manual because one batch of the loader
gives several optimizer steps, whose losses are normalised by counts of the whole mini-batch.

Departures from DeepSeekMath (arXiv 2402.03300):

1. The aggregation, ratio, clip, KL and advantage are options (`functional.objectives`, `functional.advantages`); the
   effective formula is printed at the start and stored with the run.
2. Completions whose judge failed leave their group, and groups without a spread of rewards have exact zero advantages.
3. A mini-batch in which no completion has a gradient takes no optimizer step: momentum alone moves nothing.
4. An update whose loss or gradient is not finite is skipped (`training.upkeep.nonfinite`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import lightning
import numpy as np
import torch

from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.masks import TruncatedRule
from gainrl.functional.objectives import Objective
from gainrl.rollouts.vllm_weights import policy_weights
from gainrl.signals.live import ConcentrationProbe
from gainrl.training.advantages import Weigher
from gainrl.training.checks import check_batches, check_completions
from gainrl.training.clock import PhaseClock
from gainrl.training.collection import Collector
from gainrl.training.concentration import PromptWatch
from gainrl.training.counters import Counters
from gainrl.training.critic import Critic, CriticSettings
from gainrl.training.distributed.ranks import Ranks
from gainrl.training.distributed.sharding import WholeCopy, shard
from gainrl.training.experience import Experience
from gainrl.training.learner import Learner
from gainrl.training.metrics import experience_metrics
from gainrl.training.mismatch import Mismatch
from gainrl.training.reference import Reference
from gainrl.training.scorer import MicroBatchLimits, Scorer
from gainrl.training.upkeep.nonfinite import NonfiniteGuard
from gainrl.types import Admission, Policy, PromptBatch, Reward, RolloutEngine, SamplingParams


class GRPOModule(lightning.LightningModule):
    """Trains ``policy`` on the verdicts of its own completions.

    ``minibatch_prompts``: prompts per optimizer step. ``micro_batch_size`` (completions, None for no limit) and
    ``micro_batch_tokens`` bound what goes through the model at once and change memory only. ``truncated``: completions
    cut at the limit train (``keep``), count in their group without training (``mask``) or leave it (``exclude``).
    ``overlong``: ``{buffer_fraction: ...}`` of DAPO's penalty or None. ``reference_sync``: ``{every, mixing}`` in
    rollout steps or None. ``optimizer`` and ``schedule`` are called with the parameters and with the optimizer.
    ``probe`` reads the concentration of the prompts that train off the update's own forward (``probe_completions``: of
    prompt and completion, as released). With a ``critic`` values take the place of the comparison within groups.
    ``guard`` decides what follows an update that is not finite, ``mismatch`` what follows from log-probs of the engine
    that are not those of the training forward. ``ranks``: the processes that train together.

    Raises ValueError where settings contradict each other.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        engine: RolloutEngine,
        reward: Reward,
        admission: Admission,
        objective: Objective,
        advantage: AdvantageSettings,
        sampling: SamplingParams,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        schedule: Callable[[torch.optim.Optimizer], Any] | None = None,
        prompts_per_step: int,
        minibatch_prompts: int | None = None,
        inner_epochs: int = 1,
        micro_batch_size: int | None = None,
        micro_batch_tokens: int = 16384,
        max_grad_norm: float = 1.0,
        truncated: TruncatedRule = "keep",
        overlong: dict[str, float] | None = None,
        reference_sync: dict[str, float] | None = None,
        probe: ConcentrationProbe | None = None,
        probe_completions: bool = False,
        critic: CriticSettings | None = None,
        guard: NonfiniteGuard | None = None,
        mismatch: Mismatch | None = None,
        seed: int = 0,
        clock: PhaseClock | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        minibatch_prompts = minibatch_prompts or prompts_per_step
        check_batches(
            group_size=sampling.group_size,
            prompts_per_step=prompts_per_step,
            minibatch_prompts=minibatch_prompts,
            inner_epochs=inner_epochs,
            micro_batch_size=micro_batch_size,
            compares=advantage.baseline != "none",
        )
        check_completions(truncated=truncated, overlong=overlong, reference_sync=reference_sync)
        if critic is not None:
            critic.check(advantage)
        mismatch = mismatch or Mismatch()
        mismatch.check(sampling)
        self.policy = policy
        self.model = policy.model  # registered, so that Lightning moves and checkpoints it
        self.trained = replace(policy)  # what learns: the policy, or a copy of it in shards
        self.engine, self.reward, self.sampling = engine, reward, sampling
        self.optimizer_factory, self.schedule_factory = optimizer, schedule
        self.prompts_per_step, self.reference_sync, self.seed = prompts_per_step, reference_sync, seed
        self.clock = clock or PhaseClock()
        self.ranks = ranks = ranks or Ranks()
        self.counters = Counters()
        self.limits = MicroBatchLimits(micro_batch_tokens, micro_batch_size)
        self.reference = Reference(self.trained, deferred=True) if objective.needs_reference else None
        self.critic = Critic(policy, critic) if critic is not None else None
        self.collector = Collector(
            policy=policy,
            engine=engine,
            reward=reward,
            admission=admission,
            sampling=sampling,
            prompts_per_step=prompts_per_step,
            truncated=truncated,
            overlong=overlong,
            seed=seed,
            clock=self.clock,
            ranks=ranks,
        )
        scorer = Scorer(
            policy=self.trained,
            critic=self.critic,
            temperature=sampling.temperature,
            share_prompts=probe is None or not probe_completions,
            limits=self.limits,
            ranks=ranks,
        )
        self.weigher = Weigher(
            scorer=scorer,
            objective=objective,
            advantage=advantage,
            admission=admission,
            truncated=truncated,
            reference=self.reference,
            critic=self.critic,
            clock=self.clock,
        )
        self.learner = Learner(
            self,
            scorer=scorer,
            objective=objective,
            critic=self.critic,
            minibatch_prompts=minibatch_prompts,
            inner_epochs=inner_epochs,
            max_tokens=sampling.max_new_tokens,
            max_grad_norm=max_grad_norm,
            guard=guard or NonfiniteGuard(),
            watch=PromptWatch(probe, with_completions=probe_completions, ranks=ranks),
            mismatch=mismatch,
            counters=self.counters,
            clock=self.clock,
            ranks=ranks,
        )
        self.whole: WholeCopy | None = None  # of what trains in shards
        self._configured = False
        self.row: dict[str, float] = {}  # everything logged of the current step; callbacks add to it
        self.experience: Experience | None = None
        self.advantages: np.ndarray | None = None

    def training_step(self, batch: PromptBatch, batch_idx: int) -> None:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        counters = self.counters
        with self.rolling_out():
            self.experience, kept, self.row = self.collector.collect(batch, data, counters.step)
        if self.whole is not None:
            self.whole.release()
        weights = self.weigher.weigh(self.experience, kept)
        self.advantages = weights.per_completion
        self.row |= weights.metrics | self.learner.update(self.experience, kept, weights)
        if self.whole is not None:
            self.policy.touch()
            if not self._engine_takes_weights:
                self.whole.fill()
        self.row |= {
            "nonfinite_updates": float(counters.nonfinite_updates),
            "skipped_updates": float(counters.skipped_updates),
            "memory_retries": float(counters.memory_retries),
            "learning_rate": float(self.optimizers().param_groups[0]["lr"]),  # type: ignore[union-attr]
        }
        counters.step += 1
        counters.prompts += len(self.experience.groups)
        counters.rollouts += len(self.experience.texts)
        counters.generated_tokens += int(self.experience.lengths.sum())
        data.pool.step = counters.step
        self.sync_reference()
        self.row |= experience_metrics(self.experience, self.advantages)
        if counters.step >= data.pool.total_steps:
            self.trainer.should_stop = True  # the last epoch may be shorter than the others

    @property
    def _engine_takes_weights(self) -> bool:
        return hasattr(self.engine, "take_weights")

    @contextmanager
    def rolling_out(self) -> Iterator[None]:
        """Inside, the engine has the policy's weights; afterwards it gives back what it can. Every rank must enter it.

        An engine with weights of its own takes them here, from the shards where there are shards: each rank rolls out
        as many prompts as it is given, which may be none, and could not meet the others then.
        """
        engine: Any = self.engine
        if self._engine_takes_weights:
            self.ranks.everywhere(lambda: engine.take_weights(self.policy, policy_weights(self.trained.model)))
        elif self.whole is not None:
            self.whole.fill(always=False)
        yield
        if hasattr(engine, "rest"):
            engine.rest()

    @contextmanager
    def whole_policy(self) -> Iterator[None]:
        """Inside, ``policy`` can run a forward, which waits for no other rank. Every rank must enter it."""
        if self.whole is None or self.whole.held:
            yield
            return
        self.whole.fill()
        yield
        self.whole.release()

    def sync_reference(self) -> None:
        """Moves the reference towards the policy after every ``reference_sync.every`` steps."""
        sync = self.reference_sync
        if sync is not None and self.reference is not None and self.counters.step % int(sync["every"]) == 0:
            self.reference.sync(float(sync["mixing"]))

    def configure_model(self) -> None:
        if self._configured:
            return
        self._configured = True
        mesh = self.device_mesh  # there is one where the trainer asks for shards
        mixed = torch.bfloat16 if self.trainer.precision == "bf16-mixed" else None
        if mesh is not None:
            part = mesh["data_parallel"]
            self.trained.model = shard(self.model, part, mixed=mixed)
            if self.reference is not None:
                self.reference.put_in_shards(self.model, part, mixed)
            self.whole = WholeCopy(self.trained.model, self.model, mixed=mixed)
            self.learner.watch.follow(self.trained.model)
        elif self.reference is not None:
            # A reference that moves is kept in float32: its steps would be rounded away.
            self.reference.keep(mixed if self.reference_sync is None else None)

    def configure_optimizers(self) -> Any:
        policy = [parameter for parameter in self.trained.model.parameters() if parameter.requires_grad]
        groups: Any = policy
        if self.critic is not None:
            rate = self.critic.settings.learning_rate
            groups = [{"params": policy}, {"params": list(self.critic.trained_parameters()), "lr": rate}]
        optimizer = self.optimizer_factory(groups)
        if self.schedule_factory is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.schedule_factory(optimizer)}

    def on_fit_start(self) -> None:
        self.trained.model.train()  # a transformers model is loaded in eval mode, and Lightning leaves it there

    def on_train_end(self) -> None:
        if self.whole is not None:  # what is exported are the weights that trained, not what rollouts read of them
            self.whole.take_masters(keep=self.ranks.leads)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["counters"] = self.counters.state_dict()
        checkpoint["phase_seconds"] = dict(self.clock.seconds)
        checkpoint["phase_tokens"] = dict(self.clock.tokens)
        checkpoint["micro_batch_tokens"] = self.limits.tokens
        if self.reference is not None and self.reference_sync is not None:
            checkpoint["reference"] = self.reference.state_dict(keep=self.ranks.leads)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.counters.load_state_dict(checkpoint["counters"])
        self.clock.seconds = dict(checkpoint["phase_seconds"])
        self.clock.tokens = dict(checkpoint["phase_tokens"])
        self.limits.tokens = int(checkpoint["micro_batch_tokens"])
        if self.reference is not None and "reference" in checkpoint:
            self.reference.load_state_dict(checkpoint["reference"])
