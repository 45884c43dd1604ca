"""How surprising the model finds the reference answer right behind the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gainrl.signals.activations import Tap
from gainrl.signals.prefill import compute_by_prefill
from gainrl.signals.prefill_batch import PrefillBatch
from gainrl.signals.protocol import Cost, LearnFirst, settings_text


@dataclass(frozen=True, kw_only=True)
class AnswerNLLSignal:
    """Mean negative log-probability (nats) of the reference answer's tokens behind the prompt.

    ``answer_template``: the text scored, with ``{answer}`` where the reference answer stands.
    """

    answer_template: str = "{answer}"

    name: ClassVar[str] = "answer_nll"
    cost: ClassVar[Cost] = "prefill"
    learn_first: ClassVar[LearnFirst] = "low"
    taps: ClassVar[tuple[Tap, ...]] = ()
    needs_logits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if "{answer}" not in self.answer_template:
            raise ValueError(
                f"answer_template={self.answer_template!r} has no {{answer}}, so that every problem is scored on the "
                "same text; put {answer} where the reference answer stands."
            )

    def fingerprint(self) -> str:
        return settings_text(self.name, {"answer_template": self.answer_template})

    def measure(self, batch: PrefillBatch) -> Tensor:
        return -batch.mean_score("logprobs", batch.answer)

    compute = compute_by_prefill
