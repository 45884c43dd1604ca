"""Advantages of completions from the rewards of their group.

For a group with valid rewards ``r_1..r_n``, mean ``m`` and standard deviation ``s`` (``ddof`` 0 or 1)::

    baseline  mean            a_i = r_i - m                        GRPO, arXiv 2402.03300
              leave_one_out   a_i = r_i - mean of the others
                                  = n / (n - 1) (r_i - m)          RLOO, arXiv 2402.14740
              none            a_i = r_i                            REINFORCE
              tracker         a_i = r_i - v                        SPO, arXiv 2509.13232
                                  v the value tracked for the prompt before the step
    scale     none            A_i = a_i                            Dr. GRPO, arXiv 2503.20783
              group           A_i = a_i / (s + eps)                GRPO
              batch           A_i = a_i / (s_all + eps)            s_all over all valid rewards of the step
                                  with tracker (a_i - mean a) / (std a + eps) over all of the step
              tokens          A_i = a_i here; `step_advantages` whitens over all tokens of the step
                                                                   REINFORCE++, arXiv 2501.03262

Departures from the papers:

1. A group whose valid rewards are all equal gets exact zeros, decided by ``max - min`` before anything is divided. In
   floating point the mean of equal rewards can differ from them by one unit in the last place, which a small ``eps``
   blows up to an advantage of up to ``sqrt((n - 1) / n)`` with the same sign for the whole group.
2. A group with fewer than two valid completions has no baseline and gets exact zeros.
3. Completions whose judge failed (``valid`` False) leave mean, deviation and ``n``, and get exact zeros.

A KL in the reward: where advantages belong to whole completions, the penalties of a completion are summed first (RLOO,
arXiv 2402.14740); where they belong to tokens, they enter the return-to-go (REINFORCE++, arXiv 2501.03262).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from gainrl.functional.aggregation import zero_outside
from gainrl.functional.returns import returns_to_go, token_rewards, whiten

Baseline = Literal["mean", "leave_one_out", "none", "tracker"]
Scale = Literal["group", "batch", "tokens", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AdvantageSettings:
    """How rewards become advantages; formulas in the module docstring.

    ``ddof``: 1 for the sample standard deviation (TRL, verl), 0 for the population's. ``eps`` is added to it.
    Raises ValueError where a value is unknown or a combination has no meaning.
    """

    baseline: Baseline = "mean"
    scale: Scale = "group"
    ddof: int = 1
    eps: float = 1e-4

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("baseline", self.baseline, get_args(Baseline)),
            ("scale", self.scale, get_args(Scale)),
            ("ddof", self.ddof, (0, 1)),
        ):
            if value not in allowed:
                raise ValueError(f"advantage.{name}={value!r} is unknown; use one of {', '.join(map(str, allowed))}")
        if not 0 <= self.eps < float("inf"):
            raise ValueError(f"advantage.eps={self.eps!r} must be a finite number >= 0; 1e-4 is TRL's value")
        if self.baseline == "none" and self.scale == "group":
            raise ValueError(
                "advantage.baseline=none with advantage.scale=group would divide uncentred rewards by the deviation "
                "of their own group; use advantage.scale=batch, tokens or none, or advantage.baseline=mean"
            )
        if self.baseline == "tracker" and self.scale == "group":
            raise ValueError(
                "advantage.baseline=tracker with advantage.scale=group would divide by the deviation of a group that "
                "may hold one completion; use advantage.scale=batch, tokens or none"
            )

    @property
    def compares(self) -> bool:
        """Whether the completions of a group are compared with each other."""
        return self.baseline in ("mean", "leave_one_out")


def _deviation(values: Tensor, valid: Tensor, counts: Tensor, ddof: int) -> Tensor:
    """Standard deviation along the last axis (kept), in two passes: the one-pass form cancels catastrophically."""
    means = torch.where(valid, values, 0.0).sum(dim=-1, keepdim=True) / counts.clamp(min=1)
    squares = torch.where(valid, values - means, 0.0).square().sum(dim=-1, keepdim=True)
    return (squares / (counts - ddof).clamp(min=1)).sqrt()


def _spread(values: Tensor, valid: Tensor) -> Tensor:
    """Largest minus smallest valid entry along the last axis (kept); negative where there is none."""
    infinity = float("inf")
    highest = torch.where(valid, values, -infinity).amax(dim=-1, keepdim=True)
    return highest - torch.where(valid, values, infinity).amin(dim=-1, keepdim=True)


def group_advantages(
    rewards_PG: Tensor, valid_PG: Tensor, settings: AdvantageSettings, values_P: Tensor | None = None
) -> Tensor:
    """Advantages ``[P, G]`` of the completions of ``P`` prompts; formulas in the module docstring.

    ``rewards_PG``: float, any value where ``valid_PG`` (bool) is False. With ``scale="batch"`` pass the rewards of
    the whole step (all ranks), since the deviation is taken over all of them. Arithmetic is float64 inside, the result
    has the dtype of the rewards. ``values_P``: ``[P]`` tracked values, for ``baseline="tracker"``. Raises ValueError on
    a shape that does not fit, a valid reward that is not finite, or missing values.
    """
    if settings.baseline == "tracker" and (values_P is None or values_P.shape != rewards_PG.shape[:1]):
        raise ValueError("advantage.baseline=tracker needs values_P, one tracked value for each prompt")
    if rewards_PG.ndim != 2 or rewards_PG.shape != valid_PG.shape:
        raise ValueError(
            f"rewards and valid must share one shape [prompts, group size]; "
            f"got {tuple(rewards_PG.shape)} and {tuple(valid_PG.shape)}"
        )
    valid = valid_PG.bool()
    rewards = torch.where(valid, rewards_PG.double(), 0.0)
    if not bool(torch.isfinite(rewards).all()):
        raise ValueError("a valid reward is not finite; mark completions that could not be judged as not valid")
    if rewards.numel() == 0:
        return torch.zeros_like(rewards_PG)
    counts = valid.sum(dim=1, keepdim=True).double()
    advantages = rewards
    if settings.baseline == "tracker" and values_P is not None:
        advantages = torch.where(valid, rewards - values_P.double()[:, None], 0.0)
        informative = counts >= 1
        if settings.scale == "batch":
            advantages = whiten(advantages, valid, ddof=settings.ddof, eps=settings.eps)
    elif settings.baseline != "none":
        advantages = rewards - rewards.sum(dim=1, keepdim=True) / counts.clamp(min=1)
        if settings.baseline == "leave_one_out":
            advantages = advantages * counts / (counts - 1).clamp(min=1)
        informative = (counts >= 2) & (_spread(rewards, valid) > 0)
    else:
        informative = counts >= 1
    if settings.scale == "group":
        deviations = _deviation(rewards, valid, counts, settings.ddof) + settings.eps
        # Groups that are not informative may have deviation + eps = 0; their quotient is never used.
        advantages = advantages / torch.where(informative, deviations, 1.0)
    elif settings.scale == "batch" and settings.baseline != "tracker":
        flat, flat_valid = rewards.flatten(), valid.flatten()
        spread = _spread(flat, flat_valid)
        deviation = _deviation(flat, flat_valid, flat_valid.sum().double().reshape(1), settings.ddof) + settings.eps
        advantages = torch.where(spread > 0, advantages / torch.where(spread > 0, deviation, 1.0), 0.0)
    return torch.where(informative & valid, advantages, 0.0).to(rewards_PG.dtype)


def in_groups(values_B: Tensor, shape: Sequence[int], places_B: Tensor | None) -> Tensor:
    """``[P, G]`` values of the completions of each group, zero where a group has none; see `step_advantages`."""
    if places_B is None:
        return values_B.reshape(*shape)
    return values_B.new_zeros(math.prod(shape)).index_copy_(0, places_B, values_B).reshape(*shape)


def of_completions(values_PG: Tensor, places_B: Tensor | None) -> Tensor:
    """``[B]`` values of the completions, from those of their groups; see `step_advantages`."""
    flat = values_PG.reshape(-1)
    return flat if places_B is None else flat[places_B]


def step_advantages(
    *,
    rewards_PG: Tensor,
    valid_PG: Tensor,
    mask_BT: Tensor,
    settings: AdvantageSettings,
    kl_BT: Tensor | None = None,
    beta: float = 0.0,
    scored_BT: Tensor | None = None,
    places_B: Tensor | None = None,
    values_P: Tensor | None = None,
) -> Tensor:
    """Advantages ``[B, T]`` of the whole step, ``B = P * G`` prompt-major, zero where ``mask_BT`` is False.

    Where groups differ in size, ``G`` is the largest, ``valid_PG`` is False where a group has no completion, and
    ``places_B`` holds the place of each of the ``B`` completions in the flattened ``[P, G]``. ``values_P``: see
    `group_advantages`.

    ``kl_BT``: per-token KL estimates of the *sampling* policy against the reference, for a KL in the reward with weight
    ``beta``; leave it out where the KL is in the loss. With ``settings.scale="tokens"`` the (centred) reward and the
    penalties enter returns-to-go, which are whitened over the tokens of all valid completions; otherwise the penalties
    of a completion are summed into its reward before the group's baseline: over ``scored_BT``, the tokens of all
    completions that are compared, where some of them do not train (None: ``mask_BT``).
    """
    valid_B = of_completions(valid_PG.bool(), places_B)
    mask_BT = mask_BT.bool()
    if mask_BT.shape[0] != valid_B.shape[0]:
        raise ValueError(f"mask has {mask_BT.shape[0]} rows, rewards {valid_B.shape[0]} (prompts x group size)")
    if beta != 0 and kl_BT is None:
        raise ValueError(f"a KL in the reward with beta={beta} needs kl_BT, the per-token KL of the sampling policy")
    if settings.scale == "tokens":
        centred_B = of_completions(group_advantages(rewards_PG, valid_PG, settings, values_P), places_B)
        real_BT = mask_BT & valid_B[:, None]
        returns_BT = returns_to_go(token_rewards(centred_B, real_BT, kl_BT, beta), real_BT)
        return whiten(returns_BT, real_BT, ddof=settings.ddof, eps=settings.eps)
    if kl_BT is not None and beta != 0:
        scored_BT = mask_BT if scored_BT is None else scored_BT.bool()
        penalties_B = beta * zero_outside(kl_BT.detach().to(rewards_PG.dtype), scored_BT).sum(dim=1)
        rewards_PG = rewards_PG - in_groups(penalties_B, rewards_PG.shape, places_B)
    advantages_B = of_completions(group_advantages(rewards_PG, valid_PG, settings, values_P), places_B)
    return zero_outside(advantages_B[:, None].expand(mask_BT.shape).contiguous(), mask_BT)
