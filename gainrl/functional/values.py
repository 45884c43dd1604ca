"""The value function's loss for PPO.

``V`` is the value of a token's state, ``V_old`` that at sampling time, ``R`` the target (`returns.gae`)::

    unclipped   1/2 (V - R)**2
    clipped     1/2 max( (V - R)**2, (clip(V, V_old - epsilon, V_old + epsilon) - R)**2 )

Clipping follows the PPO authors' code (described in Engstrom et al., arXiv 2005.12729); the paper (arXiv 1707.06347)
has none. Its width is in units of the reward.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gainrl.functional.aggregation import Aggregation, Normalizer, aggregate, zero_outside


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueSettings:
    """How values become advantages, and what their loss weighs.

    ``gamma`` and ``lam``: see `returns.gae`. ``epsilon``: width of the value clip in units of the reward, None for no
    clipping. ``coefficient``: weight of the value loss beside the policy's. Raises ValueError for values out of range.
    """

    gamma: float = 1.0
    lam: float = 0.95
    epsilon: float | None = 0.2
    coefficient: float = 0.1

    def __post_init__(self) -> None:
        for name, factor in (("gamma", self.gamma), ("lam", self.lam)):
            if not 0 <= factor <= 1:
                raise ValueError(f"critic.value.{name}={factor!r} must lie between 0 and 1; 1.0 does not discount")
        if self.epsilon is not None and not self.epsilon > 0:
            raise ValueError(f"critic.value.epsilon={self.epsilon!r} must be > 0, such as 0.2; null switches it off")
        if not 0 < self.coefficient < float("inf"):
            raise ValueError(
                f"critic.value.coefficient={self.coefficient!r} must be a finite number > 0, such as 0.1: a value "
                "head that does not learn is no critic; to train without one type algorithm=reinforce_pp"
            )


def value_objective(
    *,
    values_BT: Tensor,
    old_values_BT: Tensor,
    targets_BT: Tensor,
    mask_BT: Tensor,
    normalizer: Normalizer,
    aggregation: Aggregation = "token_mean",
    epsilon: float | None = None,
) -> Tensor:
    """This micro-batch's share of the value loss of the step, a scalar; gradient through ``values_BT`` only.

    All tensors ``[B, T]``, arbitrary where ``mask_BT`` (bool) is False. ``epsilon=None`` switches clipping off.
    Raises ValueError unless ``epsilon`` is None or positive.
    """
    if epsilon is not None and not epsilon > 0:
        raise ValueError(f"value clip epsilon={epsilon!r} must be > 0, such as 0.2; null switches clipping off")
    mask_BT = mask_BT.bool()
    dtype = torch.promote_types(values_BT.dtype, torch.float32)
    values_BT = zero_outside(values_BT.to(dtype), mask_BT)
    old_values_BT = zero_outside(old_values_BT.detach().to(dtype), mask_BT)
    targets_BT = zero_outside(targets_BT.detach().to(dtype), mask_BT)
    errors_BT = (values_BT - targets_BT).square()
    if epsilon is not None:
        clipped_BT = torch.clamp(values_BT, old_values_BT - epsilon, old_values_BT + epsilon)
        errors_BT = torch.maximum(errors_BT, (clipped_BT - targets_BT).square())
    return aggregate(errors_BT / 2, mask_BT, aggregation, normalizer)


def explained_variance(values_BT: Tensor, targets_BT: Tensor, mask_BT: Tensor) -> float:
    """``1 - Var(R - V) / Var(R)`` over the True tokens; 1 is a perfect value function, 0 a constant one.

    NaN where the targets do not vary.
    """
    mask_BT = mask_BT.bool()
    values, targets = values_BT[mask_BT].double(), targets_BT[mask_BT].double()
    if targets.numel() < 2 or bool(targets.max() == targets.min()):
        return float("nan")
    return float(1 - (targets - values).var(correction=0) / targets.var(correction=0))
