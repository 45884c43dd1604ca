"""Rewards and advantages of single tokens: KL inside the reward, returns, whitening, and GAE.

The reward of a completion arrives with its last token; a KL placed in the reward costs ``beta * kl_t`` at every token
(Ziegler et al., arXiv 1909.08593).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gainrl.functional.aggregation import zero_outside


def token_rewards(rewards_B: Tensor, mask_BT: Tensor, kl_BT: Tensor | None = None, beta: float = 0.0) -> Tensor:
    """``-beta * kl_t`` at every token, plus the completion's reward at its last one, ``[B, T]``.

    Rows without tokens are zero. The KL is a cost, not a path for gradients: it is detached.
    """
    mask_BT = mask_BT.bool()
    positions = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    last_B = (
        torch.where(mask_BT, positions, -1).amax(dim=1, keepdim=True) if mask_BT.shape[1] else positions.reshape(1, 0)
    )
    rewards_BT = torch.where(positions == last_B, rewards_B[:, None], torch.zeros_like(rewards_B[:, None]))
    if kl_BT is not None and beta != 0:
        rewards_BT = rewards_BT - beta * zero_outside(kl_BT.detach().to(rewards_BT.dtype), mask_BT)
    return zero_outside(rewards_BT, mask_BT)


def returns_to_go(rewards_BT: Tensor, mask_BT: Tensor, gamma: float = 1.0) -> Tensor:
    """``R_t = r_t + gamma R_{t+1}`` over the True tokens of each row, ``[B, T]``; zero elsewhere.

    Masked tokens between others are passed over: they neither pay nor discount.
    """
    mask_BT = mask_BT.bool()
    rewards_BT = zero_outside(rewards_BT, mask_BT)
    running_B = rewards_BT.new_zeros(rewards_BT.shape[0])
    returns_BT = torch.zeros_like(rewards_BT)
    for t in range(rewards_BT.shape[1] - 1, -1, -1):
        running_B = torch.where(mask_BT[:, t], rewards_BT[:, t] + gamma * running_B, running_B)
        returns_BT[:, t] = torch.where(mask_BT[:, t], running_B, 0.0)
    return returns_BT


def gae(
    rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, *, gamma: float = 1.0, lam: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and value targets, two ``[B, T]`` tensors without gradient, zero where masked.

    ``delta_t = r_t + gamma V_{t+1} - V_t``, ``A_t = delta_t + gamma lam A_{t+1}``, target ``A_t + V_t``; the value
    after the last token is 0 and masked tokens are passed over. Schulman et al., arXiv 1506.02438.
    """
    for name, factor in (("gamma", gamma), ("lam", lam)):
        if not 0 <= factor <= 1:
            raise ValueError(f"{name}={factor!r} must lie between 0 and 1; 1.0 is usual for completions")
    mask_BT = mask_BT.bool()
    rewards_BT = zero_outside(rewards_BT.detach(), mask_BT)
    values_BT = zero_outside(values_BT.detach().to(rewards_BT.dtype), mask_BT)
    next_value_B = rewards_BT.new_zeros(rewards_BT.shape[0])
    next_advantage_B = torch.zeros_like(next_value_B)
    advantages_BT = torch.zeros_like(rewards_BT)
    for t in range(rewards_BT.shape[1] - 1, -1, -1):
        real_B = mask_BT[:, t]
        delta_B = rewards_BT[:, t] + gamma * next_value_B - values_BT[:, t]
        advantage_B = delta_B + gamma * lam * next_advantage_B
        advantages_BT[:, t] = torch.where(real_B, advantage_B, 0.0)
        next_advantage_B = torch.where(real_B, advantage_B, next_advantage_B)
        next_value_B = torch.where(real_B, values_BT[:, t], next_value_B)
    return advantages_BT, zero_outside(advantages_BT + values_BT, mask_BT)


def whiten(values_BT: Tensor, mask_BT: Tensor, *, ddof: int = 1, eps: float = 1e-8) -> Tensor:
    """``(x - mean) / (std + eps)`` over all True tokens of the step, ``[B, T]``; zero where masked.

    Exact zeros where the tokens are all equal or fewer than two. Pass the whole step (all ranks), not a micro-batch.
    Arithmetic is float64 inside.
    """
    mask_BT = mask_BT.bool()
    chosen = values_BT[mask_BT].double()
    if chosen.numel() < 2 or bool(chosen.max() == chosen.min()):
        return torch.zeros_like(values_BT)
    scaled = (zero_outside(values_BT.double(), mask_BT) - chosen.mean()) / (chosen.std(correction=ddof) + eps)
    return zero_outside(scaled, mask_BT).to(values_BT.dtype)


def overlong_penalty(lengths_B: Tensor, max_tokens: int, buffer: int) -> Tensor:
    """DAPO's soft punishment, added to the reward: ``[B]`` float32 in [-1, 0] (arXiv 2503.14476, equation 13).

    0 up to ``max_tokens - buffer`` tokens, then falling linearly, ``(max_tokens - buffer - length) / buffer``, to -1 at
    ``max_tokens`` and beyond. Raises ValueError unless ``0 < buffer <= max_tokens``.
    """
    if not 0 < buffer <= max_tokens:
        raise ValueError(f"overlong.buffer={buffer!r} must be at least 1 and at most max_tokens={max_tokens!r}")
    return ((max_tokens - buffer - lengths_B.float()) / buffer).clamp(-1.0, 0.0)
