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

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import lightning
import numpy as np
import torch

from gainrl.allocation.fixed import FixedAllocation
from gainrl.rollouts.vllm_weights import policy_weights
from gainrl.training.advantages import AdvantageEstimator, Mismatch
from gainrl.training.algorithm import Algorithm
from gainrl.training.batching import MicroBatchLimits
from gainrl.training.collection import Collector, Experience
from gainrl.training.concentration import PromptWatch, by_row
from gainrl.training.concentration_settings import Concentration
from gainrl.training.critic import Critic
from gainrl.training.distributed.sharding import WholeCopy, shard
from gainrl.training.learner import Learner
from gainrl.training.masters import Masters
from gainrl.training.metrics import admission_metrics, allocation_metrics, experience_metrics, source_shares
from gainrl.training.muon import hidden_matrices
from gainrl.training.replay import ReplayBuffer
from gainrl.training.runtime import Runtime
from gainrl.training.schedules import Optimization
from gainrl.training.scorer import Reference, Scorer
from gainrl.training.upkeep.checkpoints import shards_of
from gainrl.training.upkeep.nonfinite import NonfiniteGuard
from gainrl.training.upkeep.shards import filled
from gainrl.types import Admission, Allocation, Policy, PromptBatch, Reward, RolloutEngine, SamplingParams

_ON_BARS = ("reward", "accuracy", "eval/accuracy")


class GRPOModule(lightning.LightningModule):
    """Trains ``policy`` on the verdicts of its own completions.

    ``algorithm`` holds the formula and its batches, ``optimization`` optimizer, schedule and clipping. ``sampling``:
    how completions are drawn. ``concentration``: which concentration of the training prompts the update's own forward
    measures (None: no measurement). ``guard`` decides what follows an update that is not finite, ``mismatch`` what
    follows where the log-probs of the engine differ from those of the training forward. ``allocation`` says how
    many completions each prompt gets (None: ``group_size``). ``pure_bfloat16``: the policy runs in bfloat16 and trains
    through float32 weights behind it (`training.masters`).

    ``training_step`` gives its metrics to callbacks as ``outputs["metrics"]``, and to all of Lightning by `log_dict`.

    Raises ValueError where settings contradict each other, or ``policy`` has no activations to measure.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        engine: RolloutEngine,
        reward: Reward,
        admission: Admission,
        algorithm: Algorithm,
        sampling: SamplingParams,
        prompts_per_step: int,
        optimization: Optimization,
        concentration: Concentration | None = None,
        mismatch: Mismatch | None = None,
        allocation: Allocation | None = None,
        guard: NonfiniteGuard | None = None,
        runtime: Runtime | None = None,
        pure_bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        if sampling.group_size != algorithm.group_size:
            raise ValueError(
                f"sampling.group_size={sampling.group_size} and algorithm.group_size={algorithm.group_size} differ; "
                "give both the same"
            )
        self.policy = policy
        self.model = policy.model  # registered, so that Lightning moves and checkpoints it
        self.trained = replace(policy)  # the model that learns: the policy, or a copy of it in shards
        self.engine, self.reward, self.sampling = engine, reward, sampling
        self.algorithm, self.optimization, self.prompts_per_step = algorithm, optimization, prompts_per_step
        self.runtime = runtime = runtime or Runtime()
        self.seed, self.clock, self.counters, self.ranks = runtime.seed, runtime.clock, runtime.counters, runtime.ranks
        self.limits = MicroBatchLimits(algorithm.micro_batch_tokens, algorithm.micro_batch_size)
        self.reference = Reference(self.trained, deferred=True) if algorithm.objective.needs_reference else None
        self.critic = Critic(policy, algorithm.critic) if algorithm.critic is not None else None
        self.collector = Collector(
            policy,
            engine,
            reward,
            admission,
            algorithm,
            sampling,
            prompts_per_step,
            runtime,
            allocation or FixedAllocation(),
        )
        scorer = Scorer(
            policy=self.trained,
            critic=self.critic,
            temperature=sampling.temperature,
            share_prompts=concentration is None or not concentration.with_completions,
            limits=self.limits,
            ranks=self.ranks,
        )
        self.advantage_estimator = AdvantageEstimator(
            scorer, algorithm, admission, self.reference, self.critic, self.clock
        )
        self.learner = Learner(
            self,
            scorer=scorer,
            algorithm=algorithm,
            critic=self.critic,
            minibatch_prompts=algorithm.minibatch_of(prompts_per_step),
            max_tokens=sampling.max_new_tokens,
            max_grad_norm=optimization.max_grad_norm,
            guard=guard or NonfiniteGuard(),
            watch=PromptWatch(concentration, self.trained.model, self.ranks),
            mismatch=mismatch or Mismatch(),
            runtime=runtime,
        )
        self.learner.mismatch.check(sampling)
        self.whole: WholeCopy | None = None  # of what trains in shards
        self.pure_bfloat16 = pure_bfloat16
        self.masters: Masters | None = None
        if pure_bfloat16 and self.critic is not None:
            raise ValueError(
                "trainer.precision=bf16-master trains no critic; type trainer.precision=bf16-mixed, or an algorithm "
                "without a critic"
            )
        settings = algorithm.replay_settings
        self.replay = None if settings is None else ReplayBuffer(settings, prompts_per_step, self.seed)
        self._configured = False
        self.experience: Experience | None = None  # of the last step, for callbacks
        self.advantages_B: np.ndarray | None = None

    def training_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Any]:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        with self.rolling_out():
            self.experience, decision = self.collector.collect(batch, data)
        kept = sorted(decision.kept)
        if self.whole is not None:
            self.whole.release()
        values_P = data.tracked_values(self.experience.pool_rows)
        lesson = self.experience
        if self.replay is not None:
            lesson, kept = self.replay.join(lesson, kept, self.counters.step)
        advantages = self.advantage_estimator.estimate(lesson, kept, values_P)
        self.advantages_B = advantages.per_completion[: len(self.experience.texts)]
        learned, concentrations_P = self.learner.update(lesson, kept, advantages)
        if concentrations_P is not None:
            concentrations_P = concentrations_P[: len(self.experience.prompts)]
        if self.replay is not None:
            self.replay.keep(lesson, advantages.per_completion, self.learner.sampling_logprobs_BT)
            learned |= self.replay.metrics(self.counters.step)
        if self.whole is not None:
            self.policy.touch()
            if not self._engine_takes_weights:
                self.whole.fill()
        self.count_step()
        self.sync_reference()
        data.after_update(by_row(self.experience.pool_rows, concentrations_P))
        metrics = admission_metrics(self.collector.admission, self.experience.groups, decision)
        metrics |= allocation_metrics(self.collector.allocation, self.experience)
        if data.compare_by == "source":
            metrics |= source_shares(self.experience.problems)
        # A KL in the reward is the sampling policy's, over all tokens that train, and wins over the update's.
        metrics |= learned | advantages.metrics | self.upkeep_metrics()
        metrics |= experience_metrics(self.experience, self.advantages_B, concentrations_P)
        self.log_dict(metrics, logger=False)
        if self.counters.step >= data.pool.total_steps:
            self.trainer.should_stop = True  # the last epoch may be shorter than the others
        return {"metrics": metrics}

    def count_step(self) -> None:
        assert self.experience is not None
        counters = self.counters
        counters.step += 1
        counters.prompts += len(self.experience.groups)
        counters.rollouts += len(self.experience.texts)
        counters.generated_tokens += int(self.experience.lengths.sum())

    def upkeep_metrics(self) -> dict[str, float]:
        """Updates refused or retried so far, and the learning rate after the step."""
        counters = self.counters
        return {
            "nonfinite_updates": float(counters.nonfinite_updates),
            "skipped_updates": float(counters.skipped_updates),
            "memory_retries": float(counters.memory_retries),
            "learning_rate": float(self.optimizers().param_groups[0]["lr"]),  # type: ignore[union-attr]
        }

    def log_dict(self, dictionary: Any, *args: Any, **options: Any) -> None:
        """Lightning's own; plain numbers with ``logger=False`` take a shorter way, which keeps double precision.

        The metrics of a step are the same on every rank and have one batch, so there is nothing to reduce. Lightning
        keeps a torchmetrics object for each name, at 0.4 ms a name and step: 5% of a default step. Callbacks and
        progress bars see the same numbers either way. Lightning would also give the loggers an evaluation again in
        every later step of its epoch; `training.callbacks.Records` gives them each row once, under its rollout step.
        """
        plain = options == {"logger": False} and all(isinstance(value, (int, float)) for value in dictionary.values())
        if args or not plain:
            super().log_dict(dictionary, *args, **options)
            return
        doubles = torch.tensor(list(dictionary.values()), dtype=torch.float64).unbind()
        named = dict(zip(dictionary, doubles, strict=True))
        self.trainer.callback_metrics.update(named)
        self.trainer.logged_metrics.update(named)
        self.trainer.progress_bar_metrics.update({name: dictionary[name] for name in _ON_BARS if name in dictionary})

    @property
    def _engine_takes_weights(self) -> bool:
        return hasattr(self.engine, "take_weights")

    @contextmanager
    def rolling_out(self) -> Iterator[None]:
        """Inside, the engine has the policy's weights; afterwards it gives back what it can. Every rank must enter it.

        An engine with weights of its own takes them here, from the shards where there are shards: a rank rolls out
        the prompts it is given, which may be zero, and could not meet the others then.
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
        sync = self.algorithm.reference_sync
        if sync is not None and self.reference is not None and self.counters.step % int(sync["every"]) == 0:
            self.reference.sync(float(sync["mixing"]))

    def configure_model(self) -> None:
        if self._configured:
            return
        self._configured = True
        mesh = self.device_mesh  # there is one where the trainer asks for shards
        pure = self.pure_bfloat16
        mixed = torch.bfloat16 if pure or self.trainer.precision == "bf16-mixed" else None
        if mesh is not None:
            part = mesh["data_parallel"]
            self.trained.model = shard(self.model, part, mixed=mixed, pure=pure)
            if self.reference is not None:
                self.reference.put_in_shards(self.model, part, mixed, pure=pure)
            self.whole = WholeCopy(self.trained.model, self.model, mixed=mixed, pure=pure)
            self.learner.watch.follow(self.trained.model)
            return
        if self.reference is not None:
            # A reference that moves is kept in float32: its steps would be rounded away.
            self.reference.keep(mixed if self.algorithm.reference_sync is None else None, pure=pure)
        if pure:
            self.masters = Masters(self.model)

    def configure_optimizers(self) -> Any:
        policy = self.trained_parameters()
        groups: Any = policy
        if self.critic is not None:
            rate = self.critic.settings.learning_rate
            groups = [{"params": policy}, {"params": list(self.critic.trained_parameters()), "lr": rate}]
        if self.whole is not None:
            self.optimization.check_shards()
        hidden = hidden_matrices(self.trained.model)
        if self.masters is not None:
            hidden = self.masters.of(hidden)
        optimizer, schedule = self.optimization.build(groups, hidden)
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}

    def trained_parameters(self) -> list[torch.nn.Parameter]:
        """What the optimizer moves of the policy."""
        if self.masters is not None:
            return list(self.masters.parameters())
        return [parameter for parameter in self.trained.model.parameters() if parameter.requires_grad]

    def on_fit_start(self) -> None:
        self.trained.model.train()  # a transformers model is loaded in eval mode, and Lightning leaves it there
        # Lightning numbers what its own callbacks log by this counter. It begins with the step that comes next, resumed
        # or not, and grows by one a step, so that their x-axis is the rollout step as well.
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = self.counters.step + 1

    def on_train_end(self) -> None:
        if self.whole is not None:  # export the weights that trained, not the copy that rollouts read
            self.whole.take_masters(keep=self.ranks.leads)
        if self.masters is not None:
            self.masters.put_back()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["counters"] = self.counters.state_dict()
        checkpoint["phase_seconds"] = dict(self.clock.seconds)
        checkpoint["phase_tokens"] = dict(self.clock.tokens)
        checkpoint["micro_batch_tokens"] = self.limits.tokens
        if self.replay is not None:
            checkpoint["replay"] = self.replay.state_dict()
        if self.reference is not None and self.algorithm.reference_sync is not None:
            checkpoint["reference"] = self.reference.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.counters.load_state_dict(checkpoint["counters"])
        self.clock.seconds = dict(checkpoint["phase_seconds"])
        self.clock.tokens = dict(checkpoint["phase_tokens"])
        self.limits.tokens = int(checkpoint["micro_batch_tokens"])
        if self.replay is not None:
            self.replay.load_state_dict(checkpoint["replay"])
        if self.reference is not None and "reference" in checkpoint:
            weights = filled(checkpoint["reference"], shards_of(checkpoint), lambda keys, mark: None)
            self.reference.load_state_dict(weights)
