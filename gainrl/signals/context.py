"""Prompts that are longer than the model's context: dropped or shortened by a declared rule, and counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from gainrl.signals.protocol import Problems, Signal
from gainrl.types import PromptTokens

OverlongRule = Literal["drop", "truncate"]


@dataclass(frozen=True, slots=True)
class FittedPrompts:
    """``prompts`` within the context; ``dropped`` and ``truncated`` are ``[N]`` bool."""

    prompts: Sequence[PromptTokens]
    dropped: np.ndarray
    truncated: np.ndarray


def context_length(model: Any) -> int | None:
    """Tokens the model has positions for; None if it does not say."""
    config = model.config
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
    return getattr(text_config, "max_position_embeddings", None)


def answer_lengths(signals: Iterable[Signal], problems: Problems, tokenizer: Any) -> np.ndarray:
    """``[N]`` tokens of the longest text that ``signals`` run behind each prompt."""
    lengths = np.zeros(len(problems), np.int64)
    for signal in signals:
        template = getattr(signal, "answer_template", None)
        if template is not None:
            texts = (template.replace("{answer}", problems[row].reference_answer) for row in range(len(problems)))
            lengths = np.maximum(lengths, [len(tokenizer.encode(text, add_special_tokens=False)) for text in texts])
    return lengths


def fit_prompts(
    prompts: Sequence[PromptTokens], limit: int | None, rule: OverlongRule, reserve: np.ndarray | None = None
) -> FittedPrompts:
    """Applies ``rule`` to prompts of more than ``limit`` tokens, of which ``reserve`` (``[N]``) are for an answer.

    ``truncate`` removes tokens from the front of the question, so that the prefix that all prompts share, the end of
    the question, where it asks, and the closing stay. A prompt that does not fit with one token of question is dropped.
    """
    if rule not in get_args(OverlongRule):
        raise ValueError(f"overlong={rule!r} is not a rule; use overlong=drop or overlong=truncate.")
    dropped, truncated = np.zeros(len(prompts), bool), np.zeros(len(prompts), bool)
    if limit is None:
        return FittedPrompts(prompts, dropped, truncated)
    fitted: dict[int, PromptTokens] = {}
    for row, prompt in enumerate(prompts):
        excess = len(prompt) + (0 if reserve is None else int(reserve[row])) - limit
        if excess <= 0:
            continue
        start, end = prompt.question
        if rule == "drop" or end - start <= excess:
            dropped[row] = True
            continue
        truncated[row] = True
        moved = {
            name: (first - excess, last - excess) if first >= end else (first, last)
            for name, (first, last) in prompt.segments.items()
        }
        ids = prompt.ids[:start] + prompt.ids[start + excess :]
        fitted[row] = PromptTokens(ids, {**moved, "question": (start, end - excess)})
    if fitted:
        prompts = [fitted.get(row, prompt) for row, prompt in enumerate(prompts)]
    return FittedPrompts(prompts, dropped, truncated)
