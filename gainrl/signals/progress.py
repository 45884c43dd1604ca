"""How far an extraction is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """This rank's progress in the current measurement: ``tokens`` of ``all_tokens`` prompt tokens are measured."""

    signals: tuple[str, ...]
    prompts: int
    all_prompts: int
    tokens: int
    all_tokens: int
    seconds: float

    @property
    def prompts_per_second(self) -> float:
        return self.prompts / self.seconds if self.seconds > 0 else 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta_seconds(self) -> float:
        """Seconds left. By tokens, since the longest prompts come first; nan before the first prompt."""
        return self.seconds * (self.all_tokens - self.tokens) / self.tokens if self.tokens else float("nan")

    def __str__(self) -> str:
        return (
            f"{', '.join(self.signals)}: {self.prompts}/{self.all_prompts} prompts, {self.prompts_per_second:.1f} "
            f"prompts/s, {self.tokens_per_second:.0f} tokens/s, {self.eta_seconds:.0f} s left"
        )
