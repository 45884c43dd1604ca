"""Scores to select prompts by, from their history. Pass rates ``p`` are shares in [0, 1]."""

from __future__ import annotations

from typing import Literal

import numpy as np


def learnability(p: np.ndarray) -> np.ndarray:
    """``p (1 - p)``: the variance of one verdict (arXiv 2408.15099)."""
    return p * (1 - p)


def mixed_probability(p: np.ndarray, group_size: int) -> np.ndarray:
    """``1 - p^G - (1 - p)^G``: the chance that a group of ``G`` holds both correct and wrong completions."""
    return 1 - p**group_size - (1 - p) ** group_size


def softmax(scores: np.ndarray, temperature: float) -> np.ndarray:
    """``exp(score / temperature)``, normalised."""
    weights = np.exp((scores - scores.max()) / temperature)
    return weights / weights.sum()


def rank_difficulty(values: np.ndarray, learn_first: Literal["high", "low"]) -> np.ndarray:
    """Difficulty in [0, 100] by rank: 0 for the prompts to learn first, equal values sharing their mean rank.

    NaN counts as hardest. A single prompt has difficulty 0.
    """
    keys = -values if learn_first == "high" else values
    classes, counts = np.unique(np.where(np.isnan(keys), np.inf, keys), return_inverse=True, return_counts=True)[1:]
    middle = np.cumsum(counts) - (counts + 1) / 2
    return 100 * middle[classes] / max(len(values) - 1, 1)
