"""What runs say about a difference of arms: a contrast of means over bases and seeds, its interval and its tests.

A *base* is what training starts from (one warm start), a *seed* what a run draws. Runs of one base share much, so where
there are several, the base is the unit, and the interval includes what bases differ by. For arms ``a`` with weights
``c_a``, such as +1 for the arm and -1 for its reference, and K bases ``b``::

    L_b = Σ_a c_a mean_s x_abs          L = mean_b L_b
    bases    V = Σ_b (L_b - L)² / (K - 1) / K              K - 1 degrees of freedom
    seeds    V = Σ_a c_a² s_a² mean_b(1 / n_ab) / K        s_a² pooled within bases, degrees of Welch and Satterthwaite

Interval and p-values are Student's t of L / √V. The second row is for one base, or for a question about these bases
alone; with one base it is Welch's test. With several tasks L is the mean of the tasks' own, and spreads are those
within tasks. Nothing is resampled: the same runs give the same digits. benchmarks/coverage.py measures what the
intervals cover and how often the tests err; docs/analysis.md has the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gainrl.functional.statistics import Interval, student_quantile, student_tail

Cells = Sequence[np.ndarray]
"""The scores of one arm: an array ``[seeds]`` per base, in the order of the bases of all arms."""


Over = Literal["bases", "seeds"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A contrast of means with its standard error; ``over``: whose spread that is.

    ``error`` is infinite where runs are too few, or too equal, to tell their spread.
    """

    value: float
    error: float
    freedom: float
    over: Over = "seeds"

    def interval(self, level: float = 0.95) -> Interval:
        half = math.inf if math.isinf(self.error) else student_quantile((1 + level) / 2, self.freedom) * self.error
        return Interval(self.value, self.value - half, self.value + half)

    def p_above(self) -> float:
        """One-sided p-value of "the contrast is at most 0"."""
        return 1.0 if math.isinf(self.error) else student_tail(self.value / self.error, self.freedom)

    def p_value(self) -> float:
        """Two-sided p-value of "the contrast is 0"."""
        return 1.0 if math.isinf(self.error) else 2 * student_tail(abs(self.value) / self.error, self.freedom)

    def with_variance(self, variance: float, freedom: float) -> Estimate:
        """The same with one more independent source of error, such as the choice of held-out problems."""
        if math.isinf(self.error) or variance <= 0:
            return self
        total = self.error**2 + variance
        joint = total**2 / (self.error**4 / self.freedom + variance**2 / freedom)
        return Estimate(self.value, math.sqrt(total), joint, self.over)


def contrast(
    arms: Sequence[Cells], weights: Sequence[float], *, tasks: Sequence[object] | None = None, over: Over = "bases"
) -> Estimate:
    """Σ_a weights[a] mean(arms[a]) with its error, as the module describes it.

    ``arms``: cells of each arm over the same bases, one run or more in each. ``tasks``: the task of each base, all of
    one by default. ``over``: ``seeds`` takes the bases as they are, as one base does. For paired runs give one "arm"
    of differences and the weight 1.
    """
    cells = [[np.asarray(cell, np.float64) for cell in arm] for arm in arms]
    bases = len(cells[0]) if cells else 0
    if not bases or any(len(arm) != bases for arm in cells) or any(not len(cell) for arm in cells for cell in arm):
        raise ValueError("a contrast needs one run or more of every arm on every base")
    given = list(tasks) if tasks is not None else [None] * bases
    places = [np.flatnonzero([task == other for other in given]) for task in dict.fromkeys(given)]
    share = np.zeros(bases)
    for place in places:
        share[place] = 1 / len(places) / len(place)
    values = np.asarray(weights, np.float64) @ np.array([[cell.mean() for cell in arm] for arm in cells])
    value = float(share @ values)
    between = sum(len(place) - 1 for place in places)
    if over == "bases" and between:
        squares = sum(((values[place] - values[place].mean()) ** 2).sum() for place in places)
        variance, freedom = float(squares / between * (share**2).sum()), float(between)
    else:
        over = "seeds"
        parts = [_within(arm, weight, share) for arm, weight in zip(cells, weights, strict=True)]
        variance = sum(part for part, _ in parts)
        known = variance > 0 and all(degrees > 0 for _, degrees in parts)
        freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts if part > 0) if known else 0.0
    scale = float(np.ptp(np.concatenate([cell for arm in cells for cell in arm])))
    if freedom < 1 or variance <= (1e-9 * scale) ** 2:
        return Estimate(value, math.inf, 1.0, over)
    return Estimate(value, math.sqrt(variance), freedom, over)


def _within(arm: Cells, weight: float, share: np.ndarray) -> tuple[float, int]:
    """Variance that the seeds of an arm bring into the contrast, and its degrees of freedom."""
    freedom = sum(len(cell) - 1 for cell in arm)
    pooled = sum(float(((cell - cell.mean()) ** 2).sum()) for cell in arm) / max(freedom, 1)
    sizes = np.array([len(cell) for cell in arm])
    return float(weight**2 * pooled * (share**2 / sizes).sum()), freedom


def problem_variance(arms: Sequence[Sequence[np.ndarray]], weights: Sequence[float]) -> tuple[float, float]:
    """What drawing the held-out problems brings into a contrast, and its degrees of freedom.

    ``arms``: as for `contrast` within one task, with arrays ``[seeds, problems]`` of scores per problem. Problems are
    crossed with runs: the variance over problems of the contrast's mean, less what the runs' noise puts into it, over
    the number of problems.
    """
    bases = len(arms[0])
    share = np.full(bases, 1 / bases)
    total, noise = 0.0, 0.0
    count = arms[0][0].shape[1]
    means = np.zeros(count)
    for arm, weight in zip(arms, weights, strict=True):
        freedom = max(sum(len(cell) - 1 for cell in arm), 1)
        squares = sum(((cell - cell.mean(0)) ** 2).sum(0) for cell in arm) / freedom
        noise += float((weight**2 * squares * sum(s**2 / len(c) for s, c in zip(share, arm, strict=True))).mean())
        means = means + weight * sum(s * cell.mean(0) for s, cell in zip(share, arm, strict=True))
    total = float(means.var(ddof=1)) if count > 1 else 0.0
    return max(0.0, total - noise) / count, max(count - 1.0, 1.0)


def correlation(ours: Cells, theirs: Cells) -> tuple[float, int]:
    """Correlation over seeds, within bases, of runs given in one order; and its degrees of freedom (0 for none)."""
    x = [np.asarray(cell, np.float64) - np.mean(cell) for cell in ours]
    y = [np.asarray(cell, np.float64) - np.mean(cell) for cell in theirs]
    freedom = sum(len(cell) - 1 for cell in x)
    both = math.sqrt(sum(float(c @ c) for c in x) * sum(float(c @ c) for c in y))
    return (sum(float(a @ b) for a, b in zip(x, y, strict=True)) / both if both > 0 else 0.0), freedom


def runs_needed(
    deviation: float,
    effect: float,
    *,
    bases: int = 1,
    between: float = 0.0,
    correlation: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """Seeds per base and arm that show a difference of ``effect`` with this power, in a two-sided test at ``alpha``.

    ``deviation``: of runs over seeds; ``between``: standard deviation over bases of the true difference;
    ``correlation``: of paired runs. The smallest m with (t_{1-α/2} + t_power) sqrt((between² + 2 (1 - r) deviation² /
    m) / bases) <= effect, with 2 bases (m - 1) degrees of freedom where bases do not differ, else bases - 1. Raises
    ValueError where no number of seeds is enough, because bases differ too much.
    """
    if effect <= 0 or deviation < 0 or bases < 1:
        raise ValueError(f"effect={effect} and bases={bases} must be positive; type an effect such as 0.01")
    pairs = 1 if correlation else 2

    def shows(seeds: int) -> bool:
        freedom: float = pairs * bases * (seeds - 1) if between == 0 else bases - 1
        if freedom < 1:
            return False
        error = math.sqrt((between**2 + 2 * (1 - correlation) * deviation**2 / seeds) / bases)
        return (student_quantile(1 - alpha / 2, freedom) + student_quantile(power, freedom)) * error <= effect

    if not shows(1_000_000):
        raise ValueError(
            f"{bases} bases differ too much (by {between:.3g}) to show {effect:g} with any number of seeds: use more"
        )
    return _first(shows)


def bases_needed(deviation: float, effect: float, *, seeds: int, between: float, alpha: float = 0.05) -> int:
    """Bases of ``seeds`` runs an arm that show ``effect`` with 80% power, bases being the unit (K - 1 degrees)."""

    def shows(bases: int) -> bool:
        if bases < 2:
            return False
        error = math.sqrt((between**2 + 2 * deviation**2 / seeds) / bases)
        freedom = float(bases - 1)
        return (student_quantile(1 - alpha / 2, freedom) + student_quantile(0.8, freedom)) * error <= effect

    return _first(shows)


def _first(shows: Callable[[int], bool]) -> int:
    """The smallest whole number for which a condition holds that stays true once it is."""
    high = 1
    while not shows(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high
