"""What the signals of one prefill pass read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from gainrl.functional.angles import DirectionSums, direction_sums
from gainrl.signals.activations import Tap
from gainrl.signals.token_scores import TokenScores


@dataclass(frozen=True, slots=True)
class PrefillBatch:
    """What the signals see of ``P`` prompts: the ``T`` tokens behind the shared prefix, right-padded.

    ``hidden``: ``[P, T, D]`` per tap. ``question``, ``prefix_rest``, ``answer``: ``[P, T]`` bool masks;
    ``prefix_rest`` marks tokens before the question that not all prompts share. ``shared``: the direction sums of
    the shared prefix per tap. ``scores``: of question and answer tokens that have a token before them.
    """

    hidden: Mapping[Tap, Tensor]
    shared: Mapping[Tap, DirectionSums]
    question: Tensor
    prefix_rest: Tensor
    answer: Tensor
    scored: Tensor
    scores: TokenScores | None

    def prefix_sums(self, tap: Tap) -> DirectionSums:
        """Direction sums over all tokens before the question, per prompt."""
        rest = direction_sums(self.hidden[tap], self.prefix_rest)
        return rest + self.shared[tap] if tap in self.shared else rest

    def mean_score(self, quantity: Literal["logprobs", "entropies"], segment: Tensor) -> Tensor:
        """``[P]`` mean of a token score over the scored tokens of ``segment``; NaN where there is none."""
        if self.scores is None:
            raise ValueError("Token scores were not computed in this pass; a signal that reads them needs_logits.")
        chosen = segment & self.scored
        return getattr(self.scores, quantity).masked_fill(~chosen, 0.0).sum(-1) / chosen.sum(-1)
