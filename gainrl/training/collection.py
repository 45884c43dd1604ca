"""Collecting the experience of a step: rollouts and verdicts of its prompts, round after round while admission asks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from gainrl.admission.metrics import admission_metrics
from gainrl.functional.returns import overlong_penalty
from gainrl.functional.streams import stream_key
from gainrl.functional.thinking import TAG
from gainrl.rewards.verdicts import checked
from gainrl.training.clock import PhaseClock
from gainrl.training.distributed.ranks import Ranks
from gainrl.training.distributed.shares import Judged, in_shares
from gainrl.training.experience import Experience, outcomes
from gainrl.types import (
    Admission,
    Policy,
    Problem,
    PromptBatch,
    Reward,
    Rollout,
    RolloutEngine,
    SamplingParams,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Collector:
    """Rolls out and judges; the arguments are those of `GRPOModule`."""

    policy: Policy
    engine: RolloutEngine
    reward: Reward
    admission: Admission
    sampling: SamplingParams
    prompts_per_step: int
    overlong: dict[str, float] | None
    seed: int
    clock: PhaseClock
    ranks: Ranks

    def collect(self, batch: PromptBatch, data: Any, step: int) -> tuple[Experience, list[int], dict[str, float]]:
        """The experience of ``step``, the indices of the prompts that train, and admission's metrics.

        ``data`` is the `PromptDataModule` whose curriculum and history observe every round, and which draws more.
        """
        experience = Experience(self.sampling.group_size, self.policy.pad_id)
        round_ = 0
        while True:
            self.roll_out(batch, experience, step)
            fresh = experience.groups[-len(batch) :] if len(batch) else []
            data.pool.history.observe(fresh)
            data.curriculum.observe(fresh)
            decision = self.admission.admit(experience.groups, self.prompts_per_step, round_)
            missing = min(decision.missing, data.sampler.left)
            if decision.missing and not missing:  # the pool has no other prompt: the rule for exhaustion decides
                decision = self.admission.admit(experience.groups, self.prompts_per_step, sys.maxsize)
            if not missing:
                break
            round_ += 1
            batch = data.refill(missing)
        counts = admission_metrics(self.admission, experience.groups, decision)
        return experience, sorted(decision.kept), {f"admission/{name}": value for name, value in counts.items()}

    def roll_out(self, batch: PromptBatch, experience: Experience, step: int) -> None:
        """Adds one round of completions, verdicts and groups to ``experience``."""
        rollout, texts, verdicts = in_shares(
            partial(self.completions, step=step), batch, self.ranks, self.policy.pad_id
        )
        tokens = int(rollout.lengths.sum())
        self.clock.count(tokens, "rollout")
        self.clock.count(tokens, "reward")
        rewards = np.array([verdict.value for verdict in verdicts], np.float64)
        if self.overlong is not None:
            limit = self.sampling.max_new_tokens
            buffer = max(1, round(self.overlong["buffer_fraction"] * limit))
            rewards = rewards + overlong_penalty(rollout.lengths.cpu(), limit, buffer).numpy()
        groups = outcomes(batch, rollout, verdicts, rewards, step=step)
        experience.add(batch, rollout, texts, verdicts, groups)

    def completions(self, batch: PromptBatch, *, step: int) -> Judged:
        """Completions of some prompts with their texts and verdicts.

        The stream of a completion is keyed by seed, step and problem: with an engine that draws from these streams
        alone (`rollouts.hf`) neither the other prompts of the batch nor the rank that draws it change it.
        """
        keys = torch.tensor(
            [stream_key(self.seed, "generation", step, problem.id) for problem in batch.problems], dtype=torch.int64
        )
        with self.clock("rollout"):
            rollout = self.engine.generate(self.policy, batch.prompts, self.sampling, keys)
            if rollout.version is not None and rollout.version != self.policy.version:
                raise RuntimeError(
                    f"step {step + 1}: the engine sampled with version {rollout.version} of the weights, the policy is "
                    f"at version {self.policy.version}; its completions would train the wrong policy"
                )
        with self.clock("reward"):
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
