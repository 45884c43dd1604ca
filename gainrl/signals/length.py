"""Question length: the control that the published orders are close to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gainrl.signals.protocol import Cost, LearnFirst, Problems, settings_text
from gainrl.types import Policy, PromptTokens


@dataclass(frozen=True, kw_only=True)
class LengthSignal:
    """Number of tokens of the question segment; short questions first."""

    name: ClassVar[str] = "length"
    cost: ClassVar[Cost] = "none"
    learn_first: ClassVar[LearnFirst] = "low"

    def fingerprint(self) -> str:
        return settings_text(self.name, {})

    def compute(
        self, problems: Problems, prompts: Sequence[PromptTokens], policy: Policy | None = None, **given: Any
    ) -> np.ndarray:
        return question_lengths(prompts)


def question_lengths(prompts: Sequence[PromptTokens]) -> np.ndarray:
    """``[N]`` float64 tokens of each question segment."""
    return np.array([end - start for start, end in (prompt.question for prompt in prompts)], np.float64)
