"""Collecting the experience of a step: rollouts and verdicts of its prompts, round after round while admission asks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from gainrl.admission.metrics import admission_metrics
from gainrl.functional.returns import overlong_penalty
from gainrl.functional.streams import stream_key
from gainrl.functional.thinking import TAG
from gainrl.rewards.verdicts import checked
from gainrl.training.algorithm import Algorithm
from gainrl.training.distributed.shares import Judged, in_shares
from gainrl.training.experience import Experience, outcomes
from gainrl.training.runtime import Runtime
from gainrl.types import (
    Admission,
    GroupOutcome,
    Policy,
    Problem,
    PromptBatch,
    Reward,
    Rollout,
    RolloutEngine,
    SamplingParams,
    Verdict,
)


class PromptSource(Protocol):
    """All that a step asks of the data module (`training.datamodule.PromptDataModule`)."""

    @property
    def left(self) -> int:
        """Rows of the pool that the current step has not drawn."""
        ...

    def refill(self, count: int) -> PromptBatch:
        """``count`` more prompts for the current step, from the same curriculum."""
        ...

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        """Shows history and curriculum the groups of a rollout round."""
        ...


@dataclass(frozen=True, slots=True)
class Collector:
    """Rolls out and judges; see `GRPOModule` for the arguments."""

    policy: Policy
    engine: RolloutEngine
    reward: Reward
    admission: Admission
    algorithm: Algorithm
    sampling: SamplingParams
    prompts_per_step: int
    runtime: Runtime

    def collect(self, batch: PromptBatch, source: PromptSource) -> tuple[Experience, list[int], dict[str, float]]:
        """The experience of the next step, the indices of the prompts that train, and admission's metrics."""
        experience = Experience(self.sampling.group_size, self.policy.pad_id)
        round_ = 0
        while True:
            self.roll_out(batch, experience)
            source.observe(experience.groups[-len(batch) :] if len(batch) else [])
            decision = self.admission.admit(experience.groups, self.prompts_per_step, round_)
            missing = min(decision.missing, source.left)
            if decision.missing and not missing:  # the pool has no other prompt: the rule for exhaustion decides
                decision = self.admission.admit(experience.groups, self.prompts_per_step, sys.maxsize)
            if not missing:
                break
            round_ += 1
            batch = source.refill(missing)
        counts = admission_metrics(self.admission, experience.groups, decision)
        return experience, sorted(decision.kept), {f"admission/{name}": value for name, value in counts.items()}

    def roll_out(self, batch: PromptBatch, experience: Experience) -> None:
        """Adds one round of completions, verdicts and groups to ``experience``."""
        step, clock, overlong = self.runtime.counters.step, self.runtime.clock, self.algorithm.overlong
        ranks, work = self.runtime.ranks, partial(self.completions, step=step)
        judged = work(batch) if ranks.size == 1 else in_shares(work, batch, ranks, self.policy.pad_id)
        rollout, texts, verdicts = judged
        tokens = int(rollout.lengths.sum())
        clock.count(tokens, "rollout")
        clock.count(tokens, "reward")
        rewards = np.array([verdict.value for verdict in verdicts], np.float64)
        if overlong is not None:
            limit = self.sampling.max_new_tokens
            buffer = max(1, round(overlong["buffer_fraction"] * limit))
            rewards = rewards + overlong_penalty(rollout.lengths.cpu(), limit, buffer).numpy()
        groups = outcomes(batch, rollout, verdicts, rewards, step=step)
        experience.add(batch, rollout, texts, verdicts, groups)

    def completions(self, batch: PromptBatch, *, step: int) -> Judged:
        """Completions of some prompts with their texts and verdicts.

        The stream of a completion is keyed by seed, step and problem: with an engine that draws from these streams
        alone (`rollouts.hf`) neither the other prompts of the batch nor the rank that draws it change it.
        """
        keys = torch.tensor(
            [stream_key(self.runtime.seed, "generation", step, problem.id) for problem in batch.problems],
            dtype=torch.int64,
        )
        with self.runtime.clock("rollout"):
            rollout = self.engine.generate(self.policy, batch.prompts, self.sampling, keys)
            if rollout.version is not None and rollout.version != self.policy.version:
                raise RuntimeError(
                    f"step {step + 1}: the engine sampled with version {rollout.version} of the weights, the policy is "
                    f"at version {self.policy.version}; its completions would train the wrong policy"
                )
        with self.runtime.clock("reward"):
            return rollout, *judge(self.policy, self.reward, rollout, batch.problems)


def completion_texts(tokenizer: Any, completions: Sequence[Sequence[int]]) -> list[str]:
    """The texts of token ids, without special tokens other than the tags of thinking parts."""
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    tags = {token for token in special if TAG.fullmatch(tokenizer.added_tokens_decoder[token].content)}
    if not tags:
        return tokenizer.batch_decode(completions, skip_special_tokens=True)
    hidden = special - tags
    shown = [[token for token in row if token not in hidden] for row in completions]
    return tokenizer.batch_decode(shown, skip_special_tokens=False)


def judge(
    policy: Policy, reward: Reward, rollout: Rollout, problems: Sequence[Problem]
) -> tuple[list[str], list[Verdict]]:
    """Texts and verdicts of the ``B = P * G`` completions of a rollout; ``problems``: one per prompt.

    Special tokens are left out of the texts, except the tags of thinking, without which a judge could not tell a
    thought from an answer. A reward that asks for lengths gets them in tokens. Verdicts that cannot train become error
    verdicts (`rewards.verdicts.checked`).
    """
    ids = zip(rollout.completion_ids.tolist(), rollout.lengths.tolist(), strict=True)
    texts = completion_texts(policy.tokenizer, [row[:length] for row, length in ids])
    repeated = [problem for problem in problems for _ in range(rollout.group_size)]
    scorer: Any = reward
    lengths = {"lengths": rollout.lengths.tolist()} if getattr(reward, "uses_lengths", False) else {}
    return texts, checked(scorer.score(texts, repeated, **lengths), len(texts), type(reward).__name__)
