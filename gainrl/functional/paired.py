"""What paired seeds say about a difference: interval, sign-flip test, Holm's correction, verdict, pairs needed.

A pair is one seed of one task run with both arms, so that the base model, the pool and the held-out problems are the
same; only differences within pairs are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist
from typing import Literal

import numpy as np

from gainrl.functional.statistics import Interval, resamples
from gainrl.functional.streams import generator

Verdict = Literal["supported", "ruled out", "inconclusive"]
BOOTSTRAP_PAIRS = 8
"""Pairs per task from which on a resample of them has a spread worth dividing by."""
RULING_OUT_PAIRS = 5
"""Pairs below which nothing is ruled out: their spread is itself hardly known."""
_NORMAL = NormalDist()


def paired_interval(
    differences: Sequence[np.ndarray], *, level: float = 0.95, draws: int = 4000, seed: int = 0
) -> Interval:
    """Mean difference over pairs with an interval that keeps its level for few pairs.

    ``differences``: one array ``[pairs]`` per task. The mean is that of all N pairs; its spread is that within tasks,
    s² = Σ_t Σ_i (d_ti - mean_t)² / ν with ν = Σ_t (n_t - 1), so se = s / √N.

    - From `BOOTSTRAP_PAIRS` pairs in every task on: bootstrap-t, whose ends are mean - q se with q the quantiles of
      (mean* - mean) / se* over pairs resampled within their task. It follows skewed differences, on which Student's
      interval covers too little. Source: Efron and Tibshirani 1993, section 12.5; Hesterberg 2015 (arXiv 1411.5279).
    - With fewer: Student's t with ν degrees of freedom, mean ± t_ν se, which is exact for normal differences of one
      spread. A resample of so few pairs has hardly any spread of its own: percentile intervals of 3 pairs cover 72%.
      It also serves where a share of resamples that matters has no spread at all (differences that are mostly ties).

    Coverage of normal differences is 95% for two pairs as for ten, and for 4 tasks of 3 pairs (tests). Without a degree
    of freedom (one pair per task) the ends are infinite; differences without any spread give an interval without width.
    """
    strata = [np.asarray(values, np.float64) for values in differences if len(values)]
    pooled = np.concatenate(strata)
    count, freedom = len(pooled), len(pooled) - len(strata)
    estimate = float(pooled.mean())
    if freedom < 1:
        return Interval(estimate, -math.inf, math.inf)
    error = math.sqrt(sum(_squares(values) for values in strata) / freedom / count)
    tail = (1 - level) / 2
    below = above = student_quantile(1 - tail, freedom)
    if min(map(len, strata)) >= BOOTSTRAP_PAIRS:
        ratios = _studentised(strata, freedom, draws=draws, seed=seed)
        low, high = np.quantile(ratios, [tail, 1 - tail], method="inverted_cdf")
        if np.isfinite([low, high]).all():
            below, above = float(high), float(-low)
    return Interval(estimate, estimate - below * error, estimate + above * error)


def _studentised(strata: Sequence[np.ndarray], freedom: int, *, draws: int, seed: int) -> np.ndarray:
    """(mean* - mean) / se* of resampled pairs, ``[draws]``; infinite where a resample has no spread."""
    pooled = np.concatenate(strata)
    sizes = [len(values) for values in strata]
    drawn = pooled[resamples(sizes, draws=draws, seed=seed)]
    parts = np.split(drawn, np.cumsum(sizes)[:-1], axis=1)
    shifts = drawn.mean(1) - pooled.mean()
    errors = np.sqrt(sum(_squares(part) for part in parts) / freedom / len(pooled))
    unknown = errors <= 1e-9 * max(float(np.ptp(pooled)), 1e-300)
    return np.where(unknown, np.copysign(np.inf, shifts), shifts / np.where(unknown, 1.0, errors))


def _squares(values: np.ndarray) -> np.ndarray:
    """Sum of squared deviations from the mean along the last axis."""
    return ((values - values.mean(-1, keepdims=True)) ** 2).sum(-1)


@cache
def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t for a probability in [0.5, 1), by bisection on its distribution function."""
    if not 0.5 <= probability < 1 or freedom < 1:
        raise ValueError(f"probability={probability} must lie in [0.5, 1) and freedom={freedom} be 1 or more")
    nodes, weights = np.polynomial.legendre.leggauss(96)
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def mass_up_to(quantile: float) -> float:
        # Over θ with t = sqrt(freedom) tan θ the density is cos(θ)^(freedom - 1): smooth however far out t lies.
        end = math.atan(quantile / math.sqrt(freedom))
        angles = end * (nodes + 1) / 2
        return 0.5 + constant * math.sqrt(freedom) * end / 2 * float((weights * np.cos(angles) ** (freedom - 1)).sum())

    low, high = 0.0, 1.0
    while mass_up_to(high) < probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if mass_up_to(middle) < probability else (low, middle)
    return (low + high) / 2


def sign_flip_test(differences: np.ndarray, *, exact_up_to: int = 14, draws: int = 20_000, seed: int = 0) -> float:
    """Two-sided p-value of "the sign of each difference is a coin flip" for the mean difference.

    All 2^n sign patterns for n <= ``exact_up_to`` pairs, so p is never below 2/2^n; beyond that ``draws`` random
    patterns and (hits + 1)/(draws + 1). Pairs of all tasks are given in one array.
    """
    values = np.asarray(differences, np.float64).ravel()
    count = len(values)
    if count == 0:
        raise ValueError("the sign-flip test needs at least one pair")
    # Sums that are equal on paper differ in the last bits; they must count as equal.
    threshold = abs(values.sum()) - 1e-12 * max(np.abs(values).sum(), 1e-300)
    if count <= exact_up_to:
        patterns = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((np.abs(patterns @ values) >= threshold).mean())
    patterns = 1 - 2 * generator(seed, "sign_flip", count).integers(0, 2, (draws, count))
    return float(((np.abs(patterns @ values) >= threshold).sum() + 1) / (draws + 1))


def smallest_p(pairs: int) -> float:
    """The smallest two-sided p-value that the exact sign-flip test can give: 2/2^pairs."""
    return min(1.0, 2.0 ** (1 - pairs))


def fewest_pairs(comparisons: int, alpha: float = 0.05) -> int:
    """Pairs from which on the exact sign-flip test can reject after Holm's correction for that many comparisons."""
    return next(pairs for pairs in range(1, 10_000) if smallest_p(pairs) * comparisons <= alpha)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjusted p-values, in the order given: max over smaller p of (m - rank + 1) p, at most 1.

    They bound the chance of any false rejection in the family. Source: Holm 1979.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    scaled = np.minimum(values[order] * np.arange(len(values), 0, -1), 1.0)
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(scaled)
    return adjusted


def verdict(interval: Interval, p_value: float, *, pairs: int, smallest_effect: float, alpha: float = 0.05) -> Verdict:
    """Of the claim "this arm is better than the reference by an amount that matters".

    ``ruled out``: the interval ends below ``smallest_effect``, so an improvement of that size or more is excluded. It
    takes `RULING_OUT_PAIRS` pairs, and an interval that has a width: equal differences do not tell their spread, and
    differences of zero are likely to be one run twice. Equal losses that the test rejects count all the same.
    ``supported``: the interval lies above zero and ``p_value`` (corrected) is at most ``alpha``.
    ``inconclusive``: neither. ``smallest_effect``: in the unit of the differences, chosen before looking.
    """
    if smallest_effect <= 0:
        raise ValueError(
            f"smallest_effect={smallest_effect} must be positive: the smallest improvement that would matter; type 0.01"
        )
    if interval.high < smallest_effect:
        known = interval.high - interval.low > 1e-12 or (interval.high < 0 and p_value <= alpha)
        return "ruled out" if known and pairs >= RULING_OUT_PAIRS else "inconclusive"
    return "supported" if interval.low > 0 and p_value <= alpha else "inconclusive"


def pairs_needed(
    differences: Sequence[np.ndarray], smallest_effect: float, *, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Pairs that would show a mean difference of ``smallest_effect`` with the given power.

    n = ((z_{1-alpha/2} + z_power) s/δ)^2, rounded up, with s the standard deviation of the differences within tasks;
    ``differences``: one array ``[pairs]`` per task. Raises ValueError where no task has two pairs.
    """
    strata = [np.asarray(values, np.float64) for values in differences]
    freedom = sum(len(values) - 1 for values in strata)
    if freedom < 1:
        raise ValueError("the spread within tasks is unknown: no task has two differences")
    spread = math.sqrt(sum(_squares(values) for values in strata) / freedom)
    factor = _NORMAL.inv_cdf(1 - alpha / 2) + _NORMAL.inv_cdf(power)
    return max(2, math.ceil((factor * spread / smallest_effect) ** 2))
