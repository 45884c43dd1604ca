"""The critic of PPO: a value of every token's state, which turns rewards into advantages without comparing completions.

`training.grpo` collects, judges, batches and updates; a critic replaces the comparison within groups by generalised
advantage estimates (arXiv 1506.02438) and adds its own loss to the policy's (PPO, arXiv 1707.06347). Everything else,
from the curriculum to the logging, is the same for both algorithms, which is why PPO is no module of its own.

Departures from the papers:

1. The value head starts at zero, so that the first advantages are those of plain returns and nothing is drawn.
2. Mini-batches keep the order of the prompts' draw in every epoch, and a group is never split between them.
3. Completions whose judge failed, or that admission does not select, teach the critic nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.aggregation import Normalizer
from gainrl.functional.returns import gae, token_rewards, whiten
from gainrl.functional.values import ValueSettings, explained_variance, value_objective
from gainrl.types import Policy


@dataclass(frozen=True, kw_only=True, slots=True)
class CriticSettings:
    """``trunk``: the value head reads the policy's own hidden states (``shared``, whose gradient then moves the policy
    as well) or those of a copy of the model that is trained with it (``separate``, which doubles the memory).
    ``learning_rate``: of the head, and of the copy. Raises ValueError for values out of range.
    """

    value: ValueSettings
    trunk: Literal["shared", "separate"] = "shared"
    learning_rate: float

    def __post_init__(self) -> None:
        if self.trunk not in ("shared", "separate"):
            raise ValueError(f"critic.trunk={self.trunk!r} is unknown; use shared or separate")
        if not self.learning_rate > 0:
            raise ValueError(f"critic.learning_rate={self.learning_rate!r} must be positive, such as 1e-3")

    def check(self, advantage: AdvantageSettings) -> None:
        """Raises ValueError where the advantages would also compare the completions of a group."""
        if advantage.baseline != "none" or advantage.scale not in ("tokens", "none"):
            raise ValueError(
                f"advantage.baseline={advantage.baseline} and advantage.scale={advantage.scale}: with a critic the "
                "value is the baseline; type algorithm.advantage.baseline=none and algorithm.advantage.scale=tokens "
                "(whitened over the step) or none"
            )


@dataclass(frozen=True, slots=True)
class Estimates:
    """Values of the sampling policy's states, their targets, and the advantages; ``[B, T]``, zero where masked."""

    values_BT: Tensor
    targets_BT: Tensor
    advantages_BT: Tensor

    def metrics(self, mask_BT: Tensor) -> dict[str, float]:
        """``value/mean``, ``value/target`` (means over tokens) and ``value/explained_variance`` before the update."""
        count = mask_BT.sum().clamp(min=1)
        return {
            "value/mean": float(self.values_BT.sum() / count),
            "value/target": float(self.targets_BT.sum() / count),
            "value/explained_variance": explained_variance(self.values_BT, self.targets_BT, mask_BT),
        }


class Critic(nn.Module):
    """A value head on hidden states ``[N, D]``, with a trunk of its own if asked for.

    It is part of checkpoints and never of an exported policy.
    """

    def __init__(self, policy: Policy, settings: CriticSettings) -> None:
        super().__init__()
        self.settings = settings
        width = policy.model.get_output_embeddings().weight.shape[1]
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.head.to(policy.device)
        self.trunk: Any = None
        if settings.trunk == "separate":
            self.trunk = copy.deepcopy(policy.model)
            self.trunk.get_output_embeddings().requires_grad_(False)
            # Tied to the output layer, which the values do not use, but read by the trunk itself.
            self.trunk.get_input_embeddings().requires_grad_(policy.model.get_input_embeddings().weight.requires_grad)

    def forward(self, hidden_ND: Tensor) -> Tensor:
        """Values ``[N]`` float32, whatever the precision of the hidden states."""
        with torch.autocast(hidden_ND.device.type, enabled=False):
            return self.head(hidden_ND.to(self.head.weight.dtype)).squeeze(1).float()

    def policy_of_trunk(self, policy: Policy) -> Policy:
        """The model whose hidden states the head reads."""
        return policy if self.trunk is None else Policy(self.trunk, policy.tokenizer, policy.stop_ids, policy.pad_id)

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def estimates(
        self,
        rewards_B: Tensor,
        values_BT: Tensor,
        mask_BT: Tensor,
        advantage: AdvantageSettings,
        *,
        kl_BT: Tensor | None = None,
        beta: float = 0.0,
    ) -> Estimates:
        """GAE over the whole step, whitened over its tokens with ``advantage.scale=tokens``; targets are not."""
        settings = self.settings.value
        rewards_BT = token_rewards(rewards_B, mask_BT, kl_BT, beta)
        advantages_BT, targets_BT = gae(rewards_BT, values_BT, mask_BT, gamma=settings.gamma, lam=settings.lam)
        if advantage.scale == "tokens":
            advantages_BT = whiten(advantages_BT, mask_BT, ddof=advantage.ddof, eps=advantage.eps)
        return Estimates(torch.where(mask_BT, values_BT, 0.0), targets_BT, advantages_BT)

    def loss(
        self, values_RT: Tensor, rows: Tensor, estimates: Estimates, mask_BT: Tensor, normalizer: Normalizer
    ) -> Tensor:
        """The value loss of some rows, unweighted; `functional.values.value_objective`."""
        return value_objective(
            values_BT=values_RT,
            old_values_BT=estimates.values_BT[rows],
            targets_BT=estimates.targets_BT[rows],
            mask_BT=mask_BT[rows],
            normalizer=normalizer,
            epsilon=self.settings.value.epsilon,
        )
