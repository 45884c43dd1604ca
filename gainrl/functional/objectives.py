"""The settings of the training objective, checked as a whole; the formula is in `policy_loss`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from gainrl.functional.aggregation import Aggregation

Ratio = Literal["token", "sequence"]


Clip = Literal["symmetric", "higher", "two_sided", "dual", "cispo", "none"]


KLEstimator = Literal["k1", "k2", "k3"]


KLPlacement = Literal["loss", "reward"]


def clip_bounds(clip: Clip, epsilon: float | None, epsilon_high: float | None) -> tuple[float, float]:
    """The interval of ratios that ``clip`` leaves alone; infinite ends where there is no bound."""
    if clip == "none":
        return -float("inf"), float("inf")
    low = -float("inf") if epsilon is None else 1.0 - epsilon
    upper = epsilon if clip == "symmetric" or epsilon_high is None else epsilon_high
    return low, float("inf") if upper is None else 1.0 + upper


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """Settings of the objective; formulas in the docstring of `policy_loss`.

    ``epsilon`` and ``epsilon_high`` are distances from 1; ``delta`` is the largest ratio that counts where the
    advantage is negative (``two_sided``, ``dual``). ``bounds`` is the interval of ratios that the clip leaves alone.
    ``kl_placement="reward"`` leaves the KL out of this loss: it is subtracted from the rewards in `advantages`. Raises
    ValueError where a value is unknown, out of range, or missing.
    """

    ratio: Ratio = "token"
    clip: Clip = "symmetric"
    epsilon: float | None = 0.2
    epsilon_high: float | None = None
    delta: float | None = None
    aggregation: Aggregation = "token_mean"
    kl_estimator: KLEstimator = "k3"
    kl_placement: KLPlacement = "loss"
    kl_ratio_corrected: bool = False
    beta: float = 0.0
    entropy_coefficient: float = 0.0
    bounds: tuple[float, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("ratio", self.ratio, get_args(Ratio)),
            ("clip", self.clip, get_args(Clip)),
            ("aggregation", self.aggregation, get_args(Aggregation)),
            ("kl_estimator", self.kl_estimator, get_args(KLEstimator)),
            ("kl_placement", self.kl_placement, get_args(KLPlacement)),
        ):
            if value not in allowed:
                raise ValueError(f"objective.{name}={value!r} is unknown; use one of {', '.join(allowed)}")
        infinity = float("inf")
        for name, number in (("beta", self.beta), ("entropy_coefficient", self.entropy_coefficient)):
            if not 0 <= number < infinity:
                raise ValueError(f"objective.{name}={number!r} must be a finite number >= 0; 0 switches it off")
        if self.epsilon is not None and not 0 < self.epsilon < 1:
            raise ValueError(f"objective.epsilon={self.epsilon!r} must lie between 0 and 1, such as 0.2")
        if self.epsilon_high is not None and not 0 < self.epsilon_high < infinity:
            raise ValueError(f"objective.epsilon_high={self.epsilon_high!r} must be a finite number > 0, such as 0.28")
        object.__setattr__(self, "bounds", clip_bounds(self.clip, self.epsilon, self.epsilon_high))
        self._check_clip()

    def _check_clip(self) -> None:
        if self.clip in ("symmetric", "higher", "two_sided", "dual") and self.epsilon is None:
            raise ValueError(
                f"objective.clip={self.clip} needs objective.epsilon, such as 0.2; or use objective.clip=none"
            )
        if self.clip in ("higher", "cispo") and self.epsilon_high is None:
            example = "0.28" if self.clip == "higher" else "4.0 (weights up to 5)"
            raise ValueError(f"objective.clip={self.clip} needs objective.epsilon_high, such as {example}")
        if self.clip in ("two_sided", "dual"):
            _, high = self.bounds
            least = high if self.clip == "two_sided" else 1.0
            if self.delta is None or not least < self.delta < float("inf"):
                raise ValueError(
                    f"objective.delta={self.delta!r} with objective.clip={self.clip} must be a finite number "
                    f"> {least:g}, such as {max(3.0, 2 * least):g}"
                )

    @property
    def needs_reference(self) -> bool:
        """True where the reference policy's log-probabilities enter training."""
        return self.beta > 0
