"""A fixed random order: the control that says what the scheduler does without any signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gainrl.functional.streams import generator
from gainrl.signals.protocol import Cost, LearnFirst, Problems, settings_text
from gainrl.types import Policy, PromptTokens


@dataclass(frozen=True, kw_only=True)
class RandomSignal:
    """A uniform number in [0, 1) per pool row, the same for a row whatever part of the pool is asked for."""

    seed: int = 0

    name: ClassVar[str] = "random"
    cost: ClassVar[Cost] = "none"
    learn_first: ClassVar[LearnFirst] = "high"

    def fingerprint(self) -> str:
        return settings_text(self.name, {"seed": self.seed})

    def compute(
        self,
        problems: Problems,
        prompts: Sequence[PromptTokens],
        policy: Policy | None = None,
        *,
        rows: np.ndarray | None = None,
        **given: Any,
    ) -> np.ndarray:
        wanted = np.arange(len(problems)) if rows is None else np.asarray(rows)
        size = int(wanted.max()) + 1 if len(wanted) else 0
        return generator(self.seed, "signal/random").random(size)[wanted]
