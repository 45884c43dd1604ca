"""How surprising the model finds the question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gainrl.signals.activations import Tap
from gainrl.signals.prefill import compute_by_prefill
from gainrl.signals.prefill_batch import PrefillBatch
from gainrl.signals.protocol import Cost, LearnFirst, settings_text


@dataclass(frozen=True, kw_only=True)
class PerplexitySignal:
    """exp of the mean negative log-probability (nats) of the question tokens given all tokens before them."""

    name: ClassVar[str] = "perplexity"
    cost: ClassVar[Cost] = "prefill"
    learn_first: ClassVar[LearnFirst] = "low"
    taps: ClassVar[tuple[Tap, ...]] = ()
    needs_logits: ClassVar[bool] = True
    answer_template: ClassVar[str | None] = None

    def fingerprint(self) -> str:
        return settings_text(self.name, {})

    def measure(self, batch: PrefillBatch) -> Tensor:
        return (-batch.mean_score("logprobs", batch.question)).exp()

    compute = compute_by_prefill
