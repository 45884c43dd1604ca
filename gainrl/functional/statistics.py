"""Student's t, intervals, Holm's correction, probability of improvement: the tools for comparing runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the ends of its interval, all in the unit of the scores."""

    estimate: float
    low: float
    high: float

    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


def student_tail(quantile: float, freedom: float) -> float:
    """P(T > ``quantile``) of Student's t with ``freedom`` >= 1 degrees of freedom, which need not be whole."""
    if not freedom >= 1:
        raise ValueError(f"freedom={freedom} must be 1 or more")
    if math.isinf(quantile):
        return 0.0 if quantile > 0 else 1.0
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    # With t = sqrt(freedom) cot φ the density is sin(φ)^(freedom - 1), and the tail is the stretch of φ from 0: small
    # tails keep their digits, however far out they lie.
    end = math.pi / 2 - math.atan(abs(quantile) / math.sqrt(freedom))
    begin = 0.0
    if freedom > 30:  # below this the integrand is less than 1e-16 of its value at the end
        begin = max(begin, end - 12 / math.sqrt(freedom - 1))
    shares = ((_NODES + 1) / 2) ** 4  # nodes crowd where the density has no derivative: φ = 0, if freedom is not whole
    slopes = 4 * ((_NODES + 1) / 2) ** 3
    angles = begin + (end - begin) * shares
    tail = constant * (end - begin) / 2 * float((_WEIGHTS * slopes * np.sin(angles) ** (freedom - 1)).sum())
    return tail if quantile >= 0 else 1 - tail


@cache
def student_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t for a probability in [0.5, 1), by bisection on `student_tail`."""
    if not 0.5 <= probability < 1 or not freedom >= 1:
        raise ValueError(f"probability={probability} must lie in [0.5, 1) and freedom={freedom} be 1 or more")
    low, high = 0.0, 1.0
    while student_tail(high, freedom) > 1 - probability:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, freedom) > 1 - probability else (low, middle)
    return (low + high) / 2


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


def probability_of_improvement(treated: Sequence[np.ndarray], control: Sequence[np.ndarray]) -> float:
    """Chance that a run of ``treated`` scores above a run of ``control``; ties count one half.

    P = mean over strata of 1/(nm) Σ_ij [x_i > y_j] + ½ [x_i = y_j], the Mann-Whitney statistic over nm.
    Source: arXiv 2108.13264, section 4.3. The strata of both must be given in the same order.
    """
    if len(treated) != len(control) or not treated:
        raise ValueError(f"{len(treated)} strata against {len(control)}: give the same strata, one or more, for both")
    shares = []
    for ours, theirs in zip(treated, control, strict=True):
        x, y = np.asarray(ours)[:, None], np.asarray(theirs)[None, :]
        shares.append((x > y).mean() + 0.5 * (x == y).mean())
    return float(np.mean(shares))
