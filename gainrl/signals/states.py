"""One vector per prompt, read off the same prefill as the angle: for curricula that learn from hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from gainrl.functional.angles import direction_sums
from gainrl.signals.activations import Tap
from gainrl.signals.prefill import PrefillPass
from gainrl.signals.prefill_batch import PrefillBatch
from gainrl.signals.protocol import Cost, LearnFirst, settings_text
from gainrl.types import Policy, PromptTokens


@dataclass(frozen=True)
class QuestionStates:
    """The mean direction of the question's states at ``tap``: the vector whose squared length is C_intra."""

    tap: Tap

    name: ClassVar[str] = "states"
    cost: ClassVar[Cost] = "prefill"
    learn_first: ClassVar[LearnFirst] = "high"
    needs_logits: ClassVar[bool] = False
    answer_template: ClassVar[str | None] = None

    @property
    def taps(self) -> tuple[Tap, ...]:
        return (self.tap,)

    def fingerprint(self) -> str:
        return settings_text(self.name, {"layer": self.tap.layer, "activation": self.tap.activation})

    def measure(self, batch: PrefillBatch) -> Tensor:
        question = direction_sums(batch.hidden[self.tap], batch.question)
        return question.total / question.tokens[..., None]

    def read(self, prompts: Sequence[PromptTokens], policy: Policy) -> np.ndarray:
        """``[N, D]`` float32."""
        if not len(prompts):
            return np.zeros((0, 0), np.float32)
        pass_ = PrefillPass([self], [], prompts, policy)
        parts = [(rows, pass_.measure(rows)[0]) for rows in pass_.batches]
        states = np.zeros((len(prompts), parts[0][1].shape[-1]), np.float32)
        for rows, values in parts:
            states[rows] = values
        return states
