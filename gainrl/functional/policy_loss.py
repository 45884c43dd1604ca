"""The loss of an optimizer step: importance ratio, clip, KL and entropy of every token, summed up by `aggregation`.

With ``lp``, ``lo`` and ``lr`` the log-probabilities of a token under the current, the sampling and the reference
policy, ``A`` the advantage and ``H`` the entropy, one optimizer step minimises::

    aggregate( policy(rho, A) + beta * KL(lp, lr) - entropy_coefficient * H )

    ratio        token      rho_it = exp(lp_it - lo_it)                         PPO, arXiv 1707.06347
                 sequence   rho_i  = exp(mean over t of (lp_it - lo_it))        GSPO, arXiv 2507.18071
    policy       none        -rho A
                 symmetric   -min(rho A, clip(rho, 1 - epsilon, 1 + epsilon) A)         PPO, arXiv 1707.06347
                 higher      as symmetric with 1 + epsilon_high as the upper end        DAPO, arXiv 2503.14476
                 two_sided   -min(min(rho, delta) A, clip(rho, ...) A)                  INTELLECT-2, arXiv 2505.07291
                 dual        as symmetric, but at most -delta A where A < 0             Ye et al., arXiv 1912.09729
                 cispo       -sg(clip(rho, 1 - epsilon, 1 + epsilon_high)) A lp         MiniMax-M1, arXiv 2506.13585
    KL           see `kl_estimate`; times rho where it is ratio-corrected

``sg`` stops the gradient. ``two_sided`` and ``dual`` are the same function where ``delta > 1 + epsilon_high``. In both
the upper end is ``1 + epsilon_high`` where that is set and ``1 + epsilon`` otherwise; in ``cispo`` the lower end is off
where ``epsilon`` is None (as in the paper's runs). The cap of cispo is **1 + epsilon_high** here; TRL reads the same
number as the cap itself.

The log-ratio is not clamped: a clamp would make the gradient vanish without a trace. A ratio beyond float32 (log-ratio
above 88) therefore gives a loss or gradient that is not finite, which the training loop must refuse to apply.

Departure from the papers and from TRL: the KL and the entropy are aggregated like the policy term, whatever the
aggregation (TRL always averages the entropy bonus over the tokens of the micro-batch).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from gainrl.functional.aggregation import Normalizer, aggregate, row_means, zero_outside
from gainrl.functional.objectives import Clip, KLEstimator, Objective


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
    # Completions without an advantage are in this call only if the settings make them run. Metrics must not depend on
    # that, so that they cover completions with an advantage.
    informative_BT = with_advantage(advantages_BT, mask_BT)
    sums = {
        "tokens": mask_BT.sum(),
        "tokens/with_advantage": informative_BT.sum(),
        "policy_loss": policy_loss.detach(),
        "clip_ratio/low": (low_BT & informative_BT).sum(),
        "clip_ratio/high": (high_BT & informative_BT).sum(),
        "clip_ratio/region": ((low_BT | high_BT) & informative_BT).sum(),
        "ratio/sum": zero_outside(ratios_BT.detach(), informative_BT).sum(),
        "ratio/max": _largest(zero_outside(ratios_BT.detach(), informative_BT)),
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
        sums["entropy"] = zero_outside(entropies_BT.detach(), informative_BT).sum()
        if settings.entropy_coefficient > 0:
            bonus = aggregate(entropies_BT, mask_BT, settings.aggregation, normalizer)
            loss = loss - settings.entropy_coefficient * bonus
    return ObjectiveResult(loss=loss, sums={name: value.to(dtype) for name, value in sums.items()})


def policy_term(
    *,
    ratios_BT: Tensor,
    logprobs_BT: Tensor,
    advantages_BT: Tensor,
    clip: Clip,
    low: float,
    high: float,
    delta: float | None,
) -> Tensor:
    """Loss per token ``[B, T]`` (to be minimised); ``low`` and ``high`` come from `clip_bounds`."""
    if clip == "none":
        return -ratios_BT * advantages_BT
    clipped_BT = ratios_BT.clamp(low, high)
    if clip == "cispo":
        return -clipped_BT.detach() * advantages_BT * logprobs_BT
    unclipped_BT = ratios_BT.clamp(max=delta) if clip == "two_sided" else ratios_BT
    surrogate_BT = torch.minimum(unclipped_BT * advantages_BT, clipped_BT * advantages_BT)
    if clip == "dual":
        assert delta is not None
        surrogate_BT = torch.where(advantages_BT < 0, torch.maximum(surrogate_BT, delta * advantages_BT), surrogate_BT)
    return -surrogate_BT


def clip_events(
    *, ratios_BT: Tensor, advantages_BT: Tensor, clip: Clip, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Where the clip is active at the lower and at the upper end: two bool tensors ``[B, T]``.

    The lower end acts on negative advantages, the upper end on positive ones (elsewhere the minimum picks the
    unclipped branch); cispo bounds the weight whatever the sign at the lower end, and the upper end is counted for
    positive advantages only, as in TRL's ``cispo_clip_ratio``.
    """
    below, above = ratios_BT < low, ratios_BT > high
    if clip == "cispo":
        return below, above & (advantages_BT > 0)
    return below & (advantages_BT < 0), above & (advantages_BT > 0)


def kl_estimate(logprobs_BT: Tensor, reference_logprobs_BT: Tensor, estimator: KLEstimator) -> Tensor:
    """Per-token estimate ``[B, T]`` of KL(policy || reference) in nats, from tokens that the policy sampled.

    Source: J. Schulman, "Approximating KL divergence", 2020, http://joschu.net/blog/kl-approx.html. With
    ``d = logprob - reference_logprob``::

        k1 = d                    k2 = d**2 / 2                    k3 = exp(-d) - 1 + d

    The expectations of k1 and k3 are the KL; k2 is biased and non-negative, k3 unbiased and non-negative. Their
    *gradients* differ from their values. Averaged over on-policy tokens, the gradient of k1 is zero, that of k2 is the
    gradient of KL(policy || reference), that of k3 the gradient of KL(reference || policy). Multiplied by the
    importance ratio (whose gradient counts), k1 and k3 both get the gradient of KL(policy || reference).

    Nothing is clamped: a clamp on the value makes the gradient zero where the policy is furthest from the reference.
    The price is that k3 overflows float32 at ``d < -88`` and is steep long before that (its gradient at ``d = -3`` is
    -19, that of k2 is -3); prefer k2 where the policy is expected to move far.

    Raises ValueError for an unknown estimator.
    """
    difference = logprobs_BT - reference_logprobs_BT
    if estimator == "k1":
        return difference
    if estimator == "k2":
        return difference.square() / 2
    if estimator == "k3":
        # expm1 keeps the digits that exp(-d) - 1 loses when the policy is close to the reference.
        return torch.expm1(-difference) + difference
    raise ValueError(f"unknown KL estimator {estimator!r}; use one of {', '.join(get_args(KLEstimator))}")


def importance_weights(training_BT: Tensor, engine_BT: Tensor, mask_BT: Tensor, cap: float) -> Tensor:
    """``min(exp(training - engine), cap)`` per token, 1 outside ``mask_BT``; log-probabilities in nats, ``[B, T]``.

    An engine with its own kernels, or in its own precision, samples from a distribution that differs a little from
    the one the training forward computes. These truncated importance weights multiply the policy term and correct for
    that (Ionides 2008, "Truncated importance sampling"; for rollout engines in GRPO: Yao et al. 2025, "Your efficient
    RL framework secretly brings you off-policy RL training"). Without a cap the expectation is exact and the variance
    unbounded; the cap trades a bias against it. Weights are constants of the gradient.

    Raises ValueError for a cap that is not a finite number of at least 1, or shapes that differ.
    """
    if not 1 <= cap < float("inf"):
        raise ValueError(f"importance cap {cap!r} must be a finite number, 1 or more, such as 2.0")
    difference_BT = _difference(training_BT, engine_BT, mask_BT)
    # Capped before the exponential, which cannot overflow then.
    return difference_BT.clamp(max=math.log(cap)).exp()


def logprob_difference(training_BT: Tensor, engine_BT: Tensor, mask_BT: Tensor) -> dict[str, Tensor]:
    """``|training - engine|`` over the tokens in ``mask_BT``: their ``sum`` and ``max``, and how many ``tokens``."""
    sizes_BT = _difference(training_BT, engine_BT, mask_BT).abs()
    largest = sizes_BT.max() if sizes_BT.numel() else sizes_BT.sum()
    return {"sum": sizes_BT.sum(), "tokens": mask_BT.sum().to(sizes_BT), "max": largest}


def _difference(training_BT: Tensor, engine_BT: Tensor, mask_BT: Tensor) -> Tensor:
    if not training_BT.shape == engine_BT.shape == mask_BT.shape:
        raise ValueError(
            f"log-probabilities have the shapes {tuple(training_BT.shape)} (training) and {tuple(engine_BT.shape)} "
            f"(engine), the mask {tuple(mask_BT.shape)}; they must agree"
        )
    return zero_outside(training_BT.detach().float() - engine_BT.detach().float(), mask_BT.bool())


def with_advantage(advantages_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Tokens of the completions that have an advantage at any token, ``[B, T]`` bool."""
    return mask_BT & (zero_outside(advantages_BT, mask_BT) != 0).any(dim=1, keepdim=True)


def _largest(values: Tensor) -> Tensor:
    return values.max() if values.numel() else values.sum()


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
