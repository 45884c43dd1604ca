"""Gradient norm of the last block, one backward pass per problem: the quantity that the angle is meant to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from gainrl.signals.activations import decoder_and_blocks, evaluating
from gainrl.signals.protocol import Cost, LearnFirst, Problems, require_policy, settings_text
from gainrl.types import Policy, PromptTokens


@dataclass(frozen=True, kw_only=True)
class GradNormSignal:
    """Euclidean norm of the last block's gradient of a prompt's token-mean negative log-probability.

    ``target``: ``answer`` scores the reference answer behind the prompt, ``question`` the question itself.
    Frozen weights of the block count; adapters of other blocks do not.
    """

    target: Literal["answer", "question"] = "answer"
    answer_template: str = "{answer}"

    name: ClassVar[str] = "grad_norm"
    cost: ClassVar[Cost] = "backward"
    learn_first: ClassVar[LearnFirst] = "high"

    def __post_init__(self) -> None:
        if self.target not in ("answer", "question"):
            raise ValueError(f"target={self.target!r} is unknown; use signal.target=answer or signal.target=question.")
        if "{answer}" not in self.answer_template:
            raise ValueError(
                f"answer_template={self.answer_template!r} has no {{answer}}; put it where the reference answer stands."
            )

    def fingerprint(self) -> str:
        return settings_text(self.name, {"target": self.target, "answer_template": self.answer_template})

    def compute(
        self, problems: Problems, prompts: Sequence[PromptTokens], policy: Policy | None = None, **given: Any
    ) -> np.ndarray:
        policy = require_policy(self.name, policy)
        _, blocks = decoder_and_blocks(policy.model)
        weights = list(blocks[-1].parameters())
        trainable = {weight: weight.requires_grad for weight in policy.model.parameters()}
        values = np.full(len(prompts), np.nan)
        try:
            for weight in trainable:
                weight.requires_grad_(False)
            for weight in weights:
                weight.requires_grad_(True)
            with evaluating(policy.model), torch.enable_grad():
                for row, prompt in enumerate(prompts):
                    ids, (start, end) = prompt.ids[: prompt.question[1]], prompt.question
                    if self.target == "answer":
                        text = self.answer_template.replace("{answer}", problems[row].reference_answer)
                        ids = prompt.ids + tuple(policy.tokenizer.encode(text, add_special_tokens=False))
                        start, end = len(prompt), len(ids)
                    if max(start, 1) < end:
                        values[row] = float(_gradient_norm(policy, ids, max(start, 1), weights))
        finally:
            for weight, flag in trainable.items():
                weight.requires_grad_(flag)
        return values


def _gradient_norm(policy: Policy, ids: tuple[int, ...], start: int, weights: list[torch.nn.Parameter]) -> Tensor:
    """Of the mean negative log-probability of ``ids[start:]`` given all tokens before each."""
    tokens = torch.tensor([ids], device=policy.device)
    logits = policy.model(input_ids=tokens, use_cache=False).logits[0, start - 1 : -1].float()
    loss = torch.nn.functional.cross_entropy(logits, tokens[0, start:])
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    squares = [gradient.float().square().sum() for gradient in gradients if gradient is not None]
    return torch.stack(squares).sum().sqrt()
