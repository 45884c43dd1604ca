"""The rules by which bandits value classes of prompts: levels, or the sources of a mixture.

- SEC (arXiv 2505.14970): ``Q <- (1 - alpha) Q + alpha r``, with ``r`` the mean over a class's groups of
  ``mean |A| = 2 sqrt(p (1 - p))``;
- DUMP (arXiv 2504.09710): the mean ``|A|`` of the last completions plus ``sqrt(2 ln(n + 1) / (n_c + 1))``, with ``n_c``
  the class's completions so far and ``n`` their sum;
- TSCL (arXiv 1707.00183, its online algorithm): ``Q <- (1 - alpha) Q + alpha (p - p')``, where ``p'`` is the class's
  pass rate the last time a step held it; its score is ``|Q|``.

``C`` classes; NaN stands for a class that a step did not hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mean_absolute_advantage(p: np.ndarray) -> np.ndarray:
    """``2 sqrt(p (1 - p))``: mean ``|A|`` of a group with pass rate ``p``, advantages scaled by the population sd."""
    return 2 * np.sqrt(p * (1 - p))


def absolute_advantages(correct: np.ndarray) -> np.ndarray:
    """``|correct - p| / sqrt(p (1 - p))`` of each completion of a group; 0 where all have the same verdict."""
    p = correct.mean()
    return np.abs(correct - p) / np.sqrt(p * (1 - p)) if 0 < p < 1 else np.zeros(len(correct))


def sec_values(values_C: np.ndarray, rewards_C: np.ndarray, alpha: float, *, decay_unseen: bool = False) -> np.ndarray:
    """SEC's values after a step with these mean rewards.

    Classes that the step did not hold keep their value, or, with ``decay_unseen``, count as having earned 0 (the
    release); a step that held none changes nothing.
    """
    seen = ~np.isnan(rewards_C)
    if not seen.any():
        return values_C
    blended = (1 - alpha) * values_C + alpha * np.nan_to_num(rewards_C)
    return blended if decay_unseen else np.where(seen, blended, values_C)


def tscl_values(
    values_C: np.ndarray, rates_C: np.ndarray, last_C: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """TSCL's values after a step with these pass rates, and each class's last pass rate (NaN before the first)."""
    return sec_values(values_C, rates_C - last_C, alpha), np.where(np.isnan(rates_C), last_C, rates_C)


def recent_advantages(recent: Sequence[float], correct: np.ndarray, window: int) -> list[float]:
    """The last ``window`` absolute advantages of a class, those of a new group among them."""
    return [*recent, *absolute_advantages(correct).tolist()][-window:]


def dump_bounds(recent: Sequence[Sequence[float]], counts_C: np.ndarray) -> np.ndarray:
    """DUMP's upper bounds from each class's recent absolute advantages and its completions so far."""
    return upper_bounds(np.array([np.mean(values) if values else 0.0 for values in recent]), counts_C)


def upper_bounds(means: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``mean_c + sqrt(2 ln(n + 1) / (n_c + 1))`` with ``n`` the sum of the counts ``n_c`` (arXiv 2504.09710)."""
    return means + np.sqrt(2 * np.log(counts.sum() + 1) / (counts + 1))
