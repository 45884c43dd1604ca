"""The training objective as independent knobs: ratio, clip, aggregation, KL, entropy.

With ``lp``, ``lo`` and ``lr`` the log-probabilities of a token under the current, the sampling and the reference
policy, ``A`` the advantage and ``H`` the entropy, one optimizer step minimises::

    aggregate( policy(rho, A) + beta * KL(lp, lr) - entropy_coefficient * H )

    ratio        token      rho_it = exp(lp_it - lo_it)                         PPO, arXiv 1707.06347
                 sequence   rho_i  = exp(mean over t of (lp_it - lo_it))        GSPO, arXiv 2507.18071
    policy       see `clipping`
    aggregate    see `aggregation`
    KL           see `kl`; times rho where it is ratio-corrected

Departure from the papers and from TRL: the KL and the entropy are aggregated like the policy term, whatever the
aggregation (TRL always averages the entropy bonus over the tokens of the micro-batch).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from gainrl.functional.aggregation import Aggregation, Normalizer, aggregate
from gainrl.functional.clipping import Clip, clip_bounds, clip_events, policy_term
from gainrl.functional.kl import KLEstimator, kl_estimate
from gainrl.functional.masks import row_means, zero_outside

Ratio = Literal["token", "sequence"]
KLPlacement = Literal["loss", "reward"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """Settings of the objective; formulas in the module docstring and in `clipping` and `kl`.

    ``epsilon`` and ``epsilon_high`` are distances from 1; ``delta`` is the largest ratio that counts where the
    advantage is negative (``two_sided``, ``dual``). ``kl_placement="reward"`` leaves the KL out of this loss: it is
    subtracted from the rewards in `returns`. Raises ValueError where a value is unknown, out of range, or missing.
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
    def bounds(self) -> tuple[float, float]:
        """The interval of ratios that the clip leaves alone."""
        return clip_bounds(self.clip, self.epsilon, self.epsilon_high)

    @property
    def needs_reference(self) -> bool:
        """True where the reference policy's log-probabilities enter training."""
        return self.beta > 0


@dataclass(frozen=True, slots=True)
class ObjectiveResult:
    """``loss``: scalar with gradient, this micro-batch's share of the step's loss. ``sums``: see `step_metrics`."""

    loss: Tensor
    sums: dict[str, Tensor]


def policy_objective(
    *,
    logprobs_BT: Tensor,
    old_logprobs_BT: Tensor,
    advantages_BT_or_B: Tensor,
    mask_BT: Tensor,
    settings: Objective,
    normalizer: Normalizer,
    reference_logprobs_BT: Tensor | None = None,
    entropies_BT: Tensor | None = None,
) -> ObjectiveResult:
    """The share of one micro-batch in the loss of an optimizer step; formulas in the module docstring.

    Log-probabilities and entropies are in nats, ``[B, T]``, arbitrary where ``mask_BT`` (bool) is False; advantages are
    ``[B]`` or ``[B, T]``. Gradients flow through ``logprobs_BT`` and ``entropies_BT`` only. Arithmetic is float32 or
    wider. Reference log-probabilities given although they are not in the loss are used for the ``kl`` metric.
    Raises ValueError where shapes differ or an input that the settings need is missing.
    """
    mask_BT = mask_BT.bool()
    if settings.beta > 0 and settings.kl_placement == "loss" and reference_logprobs_BT is None:
        raise ValueError(
            f"objective.beta={settings.beta} needs the reference policy's log-probabilities; pass them or use beta=0"
        )
    if settings.entropy_coefficient > 0 and entropies_BT is None:
        raise ValueError(
            f"objective.entropy_coefficient={settings.entropy_coefficient} needs token entropies; pass them or use 0"
        )
    for name, tensor in (
        ("old_logprobs", old_logprobs_BT),
        ("mask", mask_BT),
        ("reference_logprobs", reference_logprobs_BT),
        ("entropies", entropies_BT),
    ):
        if tensor is not None and tensor.shape != logprobs_BT.shape:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}, logprobs {tuple(logprobs_BT.shape)}; they must agree"
            )
    dtype = torch.promote_types(logprobs_BT.dtype, torch.float32)

    def prepare(values: Tensor) -> Tensor:
        return zero_outside(values.to(dtype), mask_BT)

    logprobs_BT = prepare(logprobs_BT)
    advantages_BT = advantages_BT_or_B if advantages_BT_or_B.ndim == 2 else advantages_BT_or_B[:, None]
    advantages_BT = prepare(advantages_BT.detach().expand_as(logprobs_BT))
    log_ratios_BT = logprobs_BT - prepare(old_logprobs_BT.detach())
    if settings.ratio == "sequence":
        log_ratios_BT = row_means(log_ratios_BT, mask_BT)[:, None].expand_as(log_ratios_BT)
    ratios_BT = log_ratios_BT.exp()

    low, high = settings.bounds
    policy_BT = policy_term(
        ratios_BT=ratios_BT,
        logprobs_BT=logprobs_BT,
        advantages_BT=advantages_BT,
        clip=settings.clip,
        low=low,
        high=high,
        delta=settings.delta,
    )
    policy_loss = aggregate(policy_BT, mask_BT, settings.aggregation, normalizer)
    loss = policy_loss
    low_BT, high_BT = clip_events(
        ratios_BT=ratios_BT.detach(), advantages_BT=advantages_BT, clip=settings.clip, low=low, high=high
    )
    # Completions without an advantage are in this call only if the settings make them run: what is said of tokens must
    # not depend on it.
    told_BT = with_advantage(advantages_BT, mask_BT)
    sums = {
        "tokens": mask_BT.sum(),
        "tokens/with_advantage": told_BT.sum(),
        "policy_loss": policy_loss.detach(),
        "clip_ratio/low": (low_BT & told_BT).sum(),
        "clip_ratio/high": (high_BT & told_BT).sum(),
        "clip_ratio/region": ((low_BT | high_BT) & told_BT).sum(),
        "ratio/sum": zero_outside(ratios_BT.detach(), told_BT).sum(),
        "ratio/max": _largest(zero_outside(ratios_BT.detach(), told_BT)),
    }
    if reference_logprobs_BT is not None:
        kl_BT = kl_estimate(logprobs_BT, prepare(reference_logprobs_BT.detach()), settings.kl_estimator)
        sums["kl"] = zero_outside(kl_BT.detach(), mask_BT).sum()
        if settings.beta > 0 and settings.kl_placement == "loss":
            weights_BT = ratios_BT if settings.kl_ratio_corrected else torch.ones_like(ratios_BT)
            kl_loss = aggregate(kl_BT * weights_BT, mask_BT, settings.aggregation, normalizer)
            sums["kl_loss"] = settings.beta * kl_loss.detach()
            loss = loss + settings.beta * kl_loss
    if entropies_BT is not None:
        entropies_BT = prepare(entropies_BT)
        sums["entropy"] = zero_outside(entropies_BT.detach(), told_BT).sum()
        if settings.entropy_coefficient > 0:
            bonus = aggregate(entropies_BT, mask_BT, settings.aggregation, normalizer)
            loss = loss - settings.entropy_coefficient * bonus
    return ObjectiveResult(loss=loss, sums={name: value.to(dtype) for name, value in sums.items()})


def with_advantage(advantages_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Tokens of the completions that have an advantage at any token, ``[B, T]`` bool."""
    return mask_BT & (zero_outside(advantages_BT, mask_BT) != 0).any(dim=1, keepdim=True)


def _largest(values: Tensor) -> Tensor:
    return values.max() if values.numel() else values.sum()


def add_sums(total: Mapping[str, Tensor], more: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adds the sums of two micro-batches (or ranks); ``ratio/max`` is the larger of both."""
    added = dict(total)
    for name, value in more.items():
        if name not in added:
            added[name] = value
        elif name.endswith("/max"):
            added[name] = torch.maximum(added[name], value)
        else:
            added[name] = added[name] + value
    return added


def step_metrics(sums: Mapping[str, Tensor], *, tokens: int | None = None) -> dict[str, float]:
    """Metrics of an optimizer step from the added-up sums of its micro-batches, under TRL's names where one exists.

    ``policy_loss`` is the step's policy term. ``kl`` and ``clip_ratio/*_mean`` are means over all tokens that train,
    ``tokens`` of them where some never went through the model (a completion without an advantage is never clipped).
    ``entropy/informative`` and ``ratio/mean`` are means over the tokens of completions with an advantage, ``ratio/max``
    is the largest there. A sequence-level ratio counts once per token.
    """
    # One transfer from the device instead of one per number.
    values = dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))
    every = max(values["tokens"] if tokens is None else tokens, 1.0)
    informative = max(values["tokens/with_advantage"], 1.0)
    metrics = {
        "policy_loss": values["policy_loss"],
        "clip_ratio/low_mean": values["clip_ratio/low"] / every,
        "clip_ratio/high_mean": values["clip_ratio/high"] / every,
        "clip_ratio/region_mean": values["clip_ratio/region"] / every,
        "ratio/mean": values["ratio/sum"] / informative,
        "ratio/max": values["ratio/max"],
    }
    if "kl" in values:
        metrics["kl"] = values["kl"] / every
    if "entropy" in values:
        metrics["entropy/informative"] = values["entropy"] / informative
    if "kl_loss" in values:
        metrics["kl_loss"] = values["kl_loss"]
    return metrics
