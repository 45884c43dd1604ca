"""How undecided the model is while it reads the question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gainrl.signals.activations import Tap
from gainrl.signals.prefill import compute_by_prefill
from gainrl.signals.prefill_batch import PrefillBatch
from gainrl.signals.protocol import Cost, LearnFirst, settings_text


@dataclass(frozen=True, kw_only=True)
class EntropySignal:
    """Mean entropy (nats) of the model's prediction of each question token."""

    name: ClassVar[str] = "entropy"
    cost: ClassVar[Cost] = "prefill"
    learn_first: ClassVar[LearnFirst] = "low"
    taps: ClassVar[tuple[Tap, ...]] = ()
    needs_logits: ClassVar[bool] = True
    answer_template: ClassVar[str | None] = None

    def fingerprint(self) -> str:
        return settings_text(self.name, {})

    def measure(self, batch: PrefillBatch) -> Tensor:
        return batch.mean_score("entropies", batch.question)

    compute = compute_by_prefill
