"""A signal compared among prompts that are alike in other signals: what a mechanism experiment selects by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gainrl.functional.association import matched_percentile
from gainrl.signals.protocol import COSTS, Cost, LearnFirst, Problems, Signal, compute_from_bases, settings_text
from gainrl.types import PromptTokens


@dataclass(frozen=True, kw_only=True)
class MatchedSignal:
    """The percentile of ``base`` among the prompts in the same stratum of each signal in ``by``.

    The prompts above any percentile have the same mix of strata as those below it, so that blocks from both ends
    differ in ``base`` and hardly in ``by``. ``strata``: equal parts into which each of ``by`` is cut
    (`functional.association.matched_percentile`). A signal in ``by`` that is ``base`` itself is left out.
    """

    base: Signal
    by: Mapping[str, Signal]
    strata: int = 5

    name_prefix: ClassVar[str] = "matched"

    def __post_init__(self) -> None:
        if self.strata < 1:
            raise ValueError(f"strata={self.strata} must be 1 or more; type signal.strata=5")

    @property
    def name(self) -> str:
        return f"{self.name_prefix}_{self.base.name}"

    @property
    def cost(self) -> Cost:
        return max((signal.cost for signal in self.bases), key=COSTS.index)

    @property
    def learn_first(self) -> LearnFirst:
        return self.base.learn_first

    @property
    def bases(self) -> tuple[Signal, ...]:
        others = (signal for signal in self.by.values() if signal.fingerprint() != self.base.fingerprint())
        return (self.base, *others)

    def fingerprint(self) -> str:
        parts = [signal.fingerprint() for signal in self.bases]
        return settings_text(self.name_prefix, {"signals": parts, "strata": self.strata})

    def derive(self, values: Sequence[np.ndarray], problems: Problems, prompts: Sequence[PromptTokens]) -> np.ndarray:
        return matched_percentile(values[0], values[1:], self.strata)

    compute = compute_from_bases
