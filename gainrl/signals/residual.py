"""A signal with question length regressed out, so that only the model's own part remains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gainrl.functional.association import rank_residual
from gainrl.signals.length import question_lengths
from gainrl.signals.protocol import Cost, LearnFirst, Problems, Signal, compute_from_bases, settings_text
from gainrl.types import PromptTokens


@dataclass(frozen=True, kw_only=True)
class ResidualSignal:
    """The rank of ``base`` minus what the rank of question length explains of it, in ranks, with mean 0."""

    base: Signal

    name_prefix: ClassVar[str] = "residual"

    @property
    def name(self) -> str:
        return f"{self.name_prefix}_{self.base.name}"

    @property
    def cost(self) -> Cost:
        return self.base.cost

    @property
    def learn_first(self) -> LearnFirst:
        return self.base.learn_first

    @property
    def bases(self) -> tuple[Signal, ...]:
        return (self.base,)

    def fingerprint(self) -> str:
        return settings_text(self.name_prefix, {"base": self.base.fingerprint()})

    def derive(self, values: Sequence[np.ndarray], problems: Problems, prompts: Sequence[PromptTokens]) -> np.ndarray:
        return rank_residual(values[0], question_lengths(prompts))

    compute = compute_from_bases
