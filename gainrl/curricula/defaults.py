"""What a curriculum does where it says nothing: it learns nothing, logs nothing, and has no state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gainrl.types import EpochFeedback, GroupOutcome, SignalScores


class CurriculumDefaults:
    """Every method of `types.Curriculum` but ``start`` and ``propose``, doing nothing; override what you need."""

    def refresh(self, signal: SignalScores) -> None: ...

    def observe(self, groups: Sequence[GroupOutcome]) -> None: ...

    def after_update(self, concentrations: Mapping[int, float]) -> None: ...

    def end_epoch(self, feedback: EpochFeedback) -> None: ...

    def metrics(self) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
