"""How far a run is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """``step`` counts rollout steps, ``updates`` optimizer steps.

    ``skipped_updates`` had no gradient, ``nonfinite_updates`` none that is finite; ``memory_retries`` were repeated in
    smaller micro-batches.
    """

    step: int = 0
    updates: int = 0
    skipped_updates: int = 0
    nonfinite_updates: int = 0
    nonfinite_in_a_row: int = 0
    memory_retries: int = 0
    prompts: int = 0
    rollouts: int = 0
    generated_tokens: int = 0

    def state_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}

    def load_state_dict(self, state: dict[str, int]) -> None:
        for name in self.__slots__:
            setattr(self, name, state[name])
