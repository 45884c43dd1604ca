"""Pass rate of the current policy, measured with rollouts: the expensive reference that cheap signals stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from gainrl.functional.streams import stream_key
from gainrl.signals.protocol import Cost, LearnFirst, Problems, require_policy, settings_text
from gainrl.types import Policy, PromptTokens, Reward, RolloutEngine, SamplingParams


@dataclass(frozen=True, kw_only=True)
class PassRateSignal:
    """Share of correct completions among ``samples`` per problem; NaN where the judge failed on all of them.

    The draws come from streams of (seed, row, step), whatever problems are measured together.
    """

    samples: int = 8
    max_new_tokens: int = 512
    temperature: float = 1.0
    top_p: float = 1.0
    prompts_per_batch: int = 64
    seed: int = 0

    name: ClassVar[str] = "pass_rate"
    cost: ClassVar[Cost] = "rollouts"
    learn_first: ClassVar[LearnFirst] = "high"

    def __post_init__(self) -> None:
        for setting in ("samples", "max_new_tokens", "prompts_per_batch"):
            if getattr(self, setting) < 1:
                raise ValueError(
                    f"{setting}={getattr(self, setting)} draws nothing; set signal.{setting} to 1 or more."
                )

    def fingerprint(self) -> str:
        return settings_text(
            self.name,
            {
                "samples": self.samples,
                "max_new_tokens": self.max_new_tokens,
                "temperature": self.temperature,
                "top_p": self.top_p,
                "seed": self.seed,
            },
        )

    def compute(
        self,
        problems: Problems,
        prompts: Sequence[PromptTokens],
        policy: Policy | None = None,
        *,
        engine: RolloutEngine | None = None,
        reward: Reward | None = None,
        rows: np.ndarray | None = None,
        step: int = 0,
    ) -> np.ndarray:
        policy = require_policy(self.name, policy)
        if engine is None or reward is None:
            raise ValueError(
                "signal=pass_rate draws completions and judges them, but was not given a rollout engine and a reward; "
                "select them with rollout= and reward=."
            )
        rows = np.arange(len(problems)) if rows is None else rows
        sampling = SamplingParams(
            group_size=self.samples,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
        )
        # With the step in the key a prompt measured again gets fresh draws, so that no unlucky one lasts for the run.
        keys = torch.tensor([stream_key(self.seed, "signal/pass_rate", int(row), step) for row in rows])
        values = np.full(len(problems), np.nan)
        for start in range(0, len(problems), self.prompts_per_batch):
            places = range(start, min(start + self.prompts_per_batch, len(problems)))
            chosen = slice(places.start, places.stop)
            rollout = engine.generate(policy, list(prompts[chosen]), sampling, keys[chosen])
            texts = [
                policy.tokenizer.decode(ids[:length].tolist(), skip_special_tokens=True)
                for ids, length in zip(rollout.completion_ids, rollout.lengths, strict=True)
            ]
            owners = [problems[place] for place in places for _ in range(self.samples)]
            verdicts = reward.score(texts, owners)
            for index, place in enumerate(places):
                group = [v for v in verdicts[index * self.samples : (index + 1) * self.samples] if not v.excluded]
                if group:
                    values[place] = sum(verdict.correct for verdict in group) / len(group)
        return values
