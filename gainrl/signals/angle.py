"""Angle concentration of the question's hidden states, the signal of GAIN-RL (paper, arXiv 2506.02281).

Departures from the paper:

1. The weights, the layer, the activation and the diagonal are options; their values in ``conf/signal/angle.yaml``
   are the published ones.
2. The question is the template's question segment and the prefix all tokens before it, not fixed offsets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gainrl.functional.angles import direction_sums, weighted_concentration
from gainrl.signals.activations import Activation, Tap
from gainrl.signals.prefill import compute_by_prefill
from gainrl.signals.prefill_batch import PrefillBatch
from gainrl.signals.protocol import Cost, LearnFirst, settings_text


@dataclass(frozen=True, kw_only=True)
class AngleSignal:
    """``intra * C_intra + inter * C_inter`` of the question tokens.

    ``layer``: index of the block (negative from the end) or, as a float in (0, 1], relative depth.
    ``activation``: which states of the block. ``diagonal``: C_intra counts a token's cosine with itself.
    """

    intra: float = 1.0
    inter: float = 1.0
    layer: int | float = -1
    activation: Activation = "mlp_input"
    diagonal: bool = True

    name: ClassVar[str] = "angle"
    cost: ClassVar[Cost] = "prefill"
    learn_first: ClassVar[LearnFirst] = "high"
    needs_logits: ClassVar[bool] = False
    answer_template: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        if self.intra == 0 and self.inter == 0:
            raise ValueError(
                "intra=0 and inter=0 leave no term, so that all problems tie; set signal.intra or signal.inter to 1.0."
            )
        Tap(self.activation, self.layer)

    @property
    def taps(self) -> tuple[Tap, ...]:
        return (Tap(self.activation, self.layer),)

    def fingerprint(self) -> str:
        return settings_text(
            self.name,
            {
                "intra": self.intra,
                "inter": self.inter,
                "layer": self.layer,
                "activation": self.activation,
                "diagonal": self.diagonal,
            },
        )

    def measure(self, batch: PrefillBatch) -> Tensor:
        (tap,) = self.taps
        question = direction_sums(batch.hidden[tap], batch.question)
        prefix = batch.prefix_sums(tap) if self.inter else None
        if prefix is not None and not bool(prefix.tokens.all()):
            raise ValueError(
                "The prompt template has no token before the question, so C_inter is not defined; "
                "use a template with a system text or example, or set signal.inter=0."
            )
        return weighted_concentration(question, prefix, intra=self.intra, inter=self.inter, diagonal=self.diagonal)[0]

    compute = compute_by_prefill
