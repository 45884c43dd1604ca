"""The published difficulty: what a curriculum could know without looking at the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gainrl.signals.protocol import Cost, LearnFirst, Problems, settings_text
from gainrl.types import Policy, PromptTokens


@dataclass(frozen=True, kw_only=True)
class LabelSignal:
    """``difficulty`` of each problem, or its ``level`` where no problem has a difficulty; easy problems first.

    Raises ValueError if no problem has either.
    """

    name: ClassVar[str] = "label"
    cost: ClassVar[Cost] = "none"
    learn_first: ClassVar[LearnFirst] = "low"

    def fingerprint(self) -> str:
        return settings_text(self.name, {})

    def compute(
        self, problems: Problems, prompts: Sequence[PromptTokens], policy: Policy | None = None, **given: Any
    ) -> np.ndarray:
        return published_difficulty(problems)


def published_difficulty(problems: Problems) -> np.ndarray:
    """``[N]`` float64 difficulties, or levels where there are none; NaN where a problem has no number."""
    for attribute in ("difficulty", "level"):
        found = [getattr(problems[row], attribute) for row in range(len(problems))]
        if any(value is not None for value in found):
            return np.array([np.nan if value is None else value for value in found], np.float64)
    raise ValueError(
        "No problem of this data set has a difficulty or a level, so signal=label has nothing to sort by; type "
        "signal=pass_rate (the model's own, measured before training) or signal=length."
    )
