"""What a run does about an engine that samples from a slightly different distribution than the one it trains."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from gainrl.functional.importance import importance_weights, logprob_difference
from gainrl.functional.objectives import with_advantage
from gainrl.types import SamplingParams

OnAlarm = Literal["warn", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Watches the difference between the engine's log-probs and the training forward's, and corrects for it.

    ``alarm``: mean absolute difference (nats per token) above which ``on_alarm`` happens, or None. ``importance_cap``:
    cap of the truncated importance weights (`functional.importance`) that multiply the policy term, or None for none.
    Raises ValueError for values out of range.
    """

    alarm: float | None = None
    on_alarm: OnAlarm = "warn"
    importance_cap: float | None = None

    def __post_init__(self) -> None:
        if self.alarm is not None and not self.alarm > 0:
            raise ValueError(f"rollout.mismatch.alarm={self.alarm!r} must be a number > 0, such as 0.1, or null")
        if self.on_alarm not in get_args(OnAlarm):
            raise ValueError(f"rollout.mismatch.on_alarm={self.on_alarm!r} is unknown; use warn or stop")
        if self.importance_cap is not None and not 1 <= self.importance_cap < float("inf"):
            raise ValueError(
                f"rollout.mismatch.importance_cap={self.importance_cap!r} must be a finite number, 1 or more, such as "
                "2.0, or null"
            )

    def check(self, sampling: SamplingParams) -> None:
        """Raises ValueError where the weights would compare two different distributions."""
        if self.importance_cap is not None and (sampling.top_p < 1 or sampling.top_k > 0):
            raise ValueError(
                "rollout.mismatch.importance_cap weighs the tempered softmax, but top_p and top_k cut it; type "
                "rollout.top_p=1 rollout.top_k=0, or rollout.mismatch.importance_cap=null"
            )

    def weigh(
        self, advantages_BT: Tensor, training_BT: Tensor, engine_BT: Tensor | None, mask_BT: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Advantages times the importance weights, and additive sums of the difference (none without ``engine_BT``).

        The sums are over the tokens of completions with an advantage, the only ones that run under every setting.

        The policy term is proportional to the advantage under every clip, so that this weighs the term itself.
        Raises RuntimeError where weights are wanted and the engine gave no log-probs.
        """
        if engine_BT is None:
            if self.importance_cap is not None:
                raise RuntimeError(
                    "rollout.mismatch.importance_cap needs the engine's log-probs, and this engine returned none; "
                    "type rollout.mismatch.importance_cap=null"
                )
            return advantages_BT, {}
        engine_BT = engine_BT.to(training_BT.device)
        told_BT = with_advantage(advantages_BT, mask_BT)
        sums = logprob_difference(training_BT, engine_BT, told_BT)
        if self.importance_cap is not None:
            weights_BT = importance_weights(training_BT, engine_BT, mask_BT, self.importance_cap)
            advantages_BT = advantages_BT * weights_BT
            sums["weight"] = (weights_BT * told_BT).sum()
        return advantages_BT, {f"{_SUMS}{name}": value for name, value in sums.items()}

    def metrics(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """Metrics of a step from its added-up sums; warns, or raises RuntimeError, where the mean passes ``alarm``."""
        found = {name.removeprefix(_SUMS): float(value) for name, value in sums.items() if name.startswith(_SUMS)}
        if not found:
            return {}
        tokens = max(found["tokens"], 1.0)
        row = {
            "rollout/logprob_difference_mean": found["sum"] / tokens,
            "rollout/logprob_difference_max": found["max"],
        }
        if "weight" in found:
            row["rollout/importance_weight_mean"] = found["weight"] / tokens
        mean = row["rollout/logprob_difference_mean"]
        if self.alarm is not None and not mean <= self.alarm:  # NaN alarms as well
            text = (
                f"the engine's log-probs differ from the training forward's by {mean:.3g} nats per token, more than "
                f"rollout.mismatch.alarm={self.alarm:g}: it samples from another policy than the one that learns. "
                "Use rollout.engine.dtype=float32 or rollout=hf, or correct with rollout.mismatch.importance_cap=2.0"
            )
            if self.on_alarm == "stop":
                raise RuntimeError(text)
            warnings.warn(text, stacklevel=2)
        return row


_SUMS = "logprob_difference/"
