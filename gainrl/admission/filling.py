"""Filling a step with groups that pass a test: how many more are wanted, and what happens when rounds run out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from gainrl.functional.rounding import ceil_product
from gainrl.types import AdmissionDecision

Exhaustion = Literal["train_short", "pad", "error"]


@dataclass(frozen=True, kw_only=True)
class Filling:
    """At most ``max_rounds`` refills, each of ``oversample`` times the groups still missing.

    When they are used up, ``train_short`` trains on what passed, ``pad`` fills the step with groups that did not, and
    ``error`` raises RuntimeError. Raises ValueError for values out of range.
    """

    max_rounds: int
    on_exhaustion: Exhaustion = "train_short"
    oversample: float = 1.0

    def __post_init__(self) -> None:
        if self.max_rounds < 0:
            raise ValueError(f"max_rounds={self.max_rounds} is negative: type 0 for no refill")
        if self.on_exhaustion not in get_args(Exhaustion):
            raise ValueError(f"on_exhaustion={self.on_exhaustion!r} is unknown: type train_short, pad or error")
        if not self.oversample >= 1:
            raise ValueError(f"oversample={self.oversample} asks for fewer groups than are missing: type 1 or more")

    def decide(self, passed: Sequence[bool], wanted: int, round_: int) -> AdmissionDecision:
        """Keeps the first ``wanted`` groups that passed; surplus ones are rejected, so that steps have equal size."""
        kept = [index for index, good in enumerate(passed) if good][:wanted]
        missing = wanted - len(kept)
        if missing and round_ < self.max_rounds:
            return AdmissionDecision(kept, _others(kept, len(passed)), ceil_product(self.oversample, missing))
        if missing and self.on_exhaustion == "error":
            raise RuntimeError(
                f"after {round_} refills only {len(kept)} of {wanted} groups were admitted: raise "
                "admission.max_rounds, type admission.on_exhaustion=train_short, or use problems of middling difficulty"
            )
        if missing and self.on_exhaustion == "pad":
            kept = sorted(kept + _others(kept, len(passed))[:missing])
        return AdmissionDecision(kept, _others(kept, len(passed)))


def _others(kept: Sequence[int], count: int) -> list[int]:
    chosen = set(kept)
    return [index for index in range(count) if index not in chosen]
