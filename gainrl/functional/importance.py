"""How far the engine that sampled is from the model that trains, and the weights that correct for it.

An engine with its own kernels, or in its own precision, samples token ``t`` from a distribution that differs a little
from the one the training forward computes. With ``lp`` the training forward's log-probability at the weights that
sampled and ``le`` the engine's, the policy term of every token is multiplied by the truncated importance weight ::

    w_t = min(exp(lp_t - le_t), cap)

(Ionides 2008, "Truncated importance sampling"; for rollout engines in GRPO: Yao et al. 2025, "Your efficient RL
framework secretly brings you off-policy RL training"). Without a cap the expectation is exact and the variance
unbounded; the cap trades a bias against it. Weights are constants of the gradient.
"""

from __future__ import annotations

import math

from torch import Tensor

from gainrl.functional.masks import zero_outside


def importance_weights(training_BT: Tensor, engine_BT: Tensor, mask_BT: Tensor, cap: float) -> Tensor:
    """``min(exp(training - engine), cap)`` per token, 1 outside ``mask_BT``; log-probabilities in nats, ``[B, T]``.

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
