"""Rank association between per-problem numbers, with and without the share that question length explains.

Arrays are ``[N]`` float64; NaN marks a missing number and leaves the pair out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_SMALLEST_GROUP = 3  # ranks of two problems correlate perfectly whatever they are
_WEIGHTS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Association:
    """A rank correlation with its bootstrap interval; ``count`` pairs of numbers went into it."""

    value: float
    low: float
    high: float
    count: int


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks ``[N]`` from 1, equal values sharing the mean of their ranks; NaN stays NaN."""
    values = np.asarray(values, np.float64)
    ranks = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    _, inverse, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    ranks[known] = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    return ranks


def rank_residual(values: np.ndarray, covariate: np.ndarray) -> np.ndarray:
    """What the rank of ``covariate`` does not explain of the rank of ``values``.

    Least squares on ranks: rank(values) - fit, in ranks, with mean 0. NaN where either is missing. A constant
    covariate explains nothing, so that the centred ranks come back.
    """
    values, covariate = np.asarray(values, np.float64), np.asarray(covariate, np.float64)
    if values.shape != covariate.shape:
        raise ValueError(
            f"values has shape {values.shape} and covariate {covariate.shape}; pass one covariate per value."
        )
    known = ~(np.isnan(values) | np.isnan(covariate))
    residual = np.full(len(values), np.nan)
    y, x = average_ranks(values[known]), average_ranks(covariate[known])
    y, x = y - y.mean() if len(y) else y, x - x.mean() if len(x) else x
    variance = float(x @ x)
    residual[known] = y - (float(x @ y) / variance) * x if variance > 0 else y
    return residual


def matched_percentile(values: np.ndarray, covariates: Sequence[np.ndarray], strata: int) -> np.ndarray:
    """Where each value stands among the problems that are like it: ``[N]`` in (0, 1).

    Each covariate's ranks are cut into ``strata`` equal parts; problems in the same part of all of them form a stratum.
    The k-th smallest of its n values gets (k - 1/2) / n, equal values sharing the mean, so that the upper and the lower
    share of the result have the same strata in the same proportions. NaN where a number is missing. Raises ValueError
    for fewer than one part, or covariates of another length.
    """
    if strata < 1:
        raise ValueError(f"strata={strata} must be 1 or more; type signal.strata=5")
    values = np.asarray(values, np.float64)
    covariates = [np.asarray(covariate, np.float64) for covariate in covariates]
    shapes = [covariate.shape for covariate in covariates]
    if any(shape != values.shape for shape in shapes):
        raise ValueError(f"values has shape {values.shape} and the covariates {shapes}; pass one number per value.")
    known = ~np.isnan(np.stack([values, *covariates])).any(axis=0)
    count = int(known.sum())
    parts = [
        np.ceil(average_ranks(covariate[known]) * strata / max(count, 1)).astype(np.int64) for covariate in covariates
    ]
    cells = np.zeros(count, np.int64)
    for part in parts:
        cells = cells * (strata + 1) + part
    places = np.empty(count)
    for cell in np.unique(cells):
        members = cells == cell
        places[members] = (average_ranks(values[known][members]) - 0.5) / members.sum()
    percentiles = np.full(len(values), np.nan)
    percentiles[known] = places
    return percentiles


def spearman(
    x: np.ndarray,
    y: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    covariate: np.ndarray | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    generator: np.random.Generator | None = None,
) -> Association:
    """Spearman's rank correlation of two signals, by default over all problems.

    ``groups`` (``[N]``, such as levels): the correlation within each group, averaged by the group's size.
    ``covariate`` (``[N]``, such as question length): of the parts of both ranks that it does not explain.
    The interval holds the middle ``confidence`` of ``resamples`` bootstrap samples of problems, with ranks taken once;
    without ``generator`` it is NaN. NaN throughout where fewer than three problems have both numbers, or one signal
    is constant.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"x has shape {x.shape} and y {y.shape}; pass two arrays with one number per problem.")
    known = ~(np.isnan(x) | np.isnan(y))
    if covariate is not None:
        known &= ~np.isnan(np.asarray(covariate, np.float64))
    x, y = x[known], y[known]
    labels = (
        np.zeros(len(x), np.int64) if groups is None else np.unique(np.asarray(groups)[known], return_inverse=True)[1]
    )
    parts = []
    for label in range(int(labels.max()) + 1 if len(labels) else 0):
        members = np.flatnonzero(labels == label)
        if len(members) < _SMALLEST_GROUP:
            continue
        if covariate is None:
            ranks = average_ranks(x[members]), average_ranks(y[members])
        else:
            length = np.asarray(covariate, np.float64)[known][members]
            ranks = rank_residual(x[members], length), rank_residual(y[members], length)
        if all(np.ptp(rank) > 1e-9 for rank in ranks):
            parts.append(ranks)
    count = sum(len(ranks[0]) for ranks in parts)
    if not parts:
        return Association(np.nan, np.nan, np.nan, 0)
    shares = np.array([len(ranks[0]) for ranks in parts]) / count
    value = float(shares @ [_weighted_correlations(*ranks, np.ones((1, len(ranks[0]))))[0] for ranks in parts])
    if generator is None:
        return Association(value, np.nan, np.nan, count)
    draws = shares @ np.stack([_resampled(*ranks, resamples, generator) for ranks in parts])
    tail = 50 * (1 - confidence)
    low, high = np.nanpercentile(draws, [tail, 100 - tail])
    return Association(value, float(low), float(high), count)


def _resampled(x: np.ndarray, y: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """``[resamples]`` correlations of samples drawn with replacement, as weights: no sample is ever formed."""
    block = max(1, _WEIGHTS_AT_ONCE // len(x))
    parts = []
    for start in range(0, resamples, block):
        drawn = generator.multinomial(len(x), np.full(len(x), 1 / len(x)), size=min(block, resamples - start))
        parts.append(_weighted_correlations(x, y, drawn.astype(np.float64)))
    return np.concatenate(parts)


def _weighted_correlations(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``[B]`` Pearson correlations of ``x`` and ``y`` (``[n]``) under weights ``[B, n]``; NaN without variance."""
    x, y = x - x.mean(), y - y.mean()
    total = weights.sum(1)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    covariance = weights @ (x * y) / total - mean_x * mean_y
    variances = (weights @ (x * x) / total - mean_x**2) * (weights @ (y * y) / total - mean_y**2)
    return np.divide(covariance, np.sqrt(variances), out=np.full(len(total), np.nan), where=variances > 1e-12)


def order_agreement(position: np.ndarray, key: np.ndarray) -> tuple[float, float]:
    """How close an order is to a sort by ``key``: shares of neighbours and of the first tenth.

    ``position`` (``[N]``): the place of each problem in the order, NaN if unknown. The first number is the share of
    neighbours in the order whose key does not descend (0.5 for an order that knows nothing of the key, up to ties),
    the second the share of the order's first tenth that belongs to the tenth with the smallest keys.
    """
    known = np.flatnonzero(~(np.isnan(position) | np.isnan(key)))
    if len(known) < 2:
        return np.nan, np.nan
    ordered = np.asarray(key, np.float64)[known[np.argsort(position[known], kind="stable")]]
    tenth = max(1, len(ordered) // 10)
    threshold = np.sort(ordered)[tenth - 1]
    return float(np.mean(np.diff(ordered) >= 0)), float(np.mean(ordered[:tenth] <= threshold))
