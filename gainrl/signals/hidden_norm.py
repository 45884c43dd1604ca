"""Length of the hidden states, which the angle leaves out: a rival of angle concentration that costs the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gainrl.signals.activations import Activation, Tap
from gainrl.signals.prefill import compute_by_prefill
from gainrl.signals.prefill_batch import PrefillBatch
from gainrl.signals.protocol import Cost, LearnFirst, settings_text


@dataclass(frozen=True, kw_only=True)
class HiddenNormSignal:
    """Mean Euclidean length of the question tokens' states.

    The input of an MLP behind an RMS norm has nearly one length, so ``block_output`` is what tells problems apart.
    """

    layer: int | float = -1
    activation: Activation = "block_output"
    learn_first: LearnFirst = "high"

    name: ClassVar[str] = "hidden_norm"
    cost: ClassVar[Cost] = "prefill"
    needs_logits: ClassVar[bool] = False
    answer_template: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        Tap(self.activation, self.layer)

    @property
    def taps(self) -> tuple[Tap, ...]:
        return (Tap(self.activation, self.layer),)

    def fingerprint(self) -> str:
        return settings_text(self.name, {"layer": self.layer, "activation": self.activation})

    def measure(self, batch: PrefillBatch) -> Tensor:
        lengths = torch.linalg.vector_norm(batch.hidden[self.taps[0]], dim=-1, dtype=torch.float32)
        return lengths.masked_fill(~batch.question, 0.0).sum(-1) / batch.question.sum(-1)

    compute = compute_by_prefill
