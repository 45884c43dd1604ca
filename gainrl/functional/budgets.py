"""Accuracy against spending: area under a curve, budget to reach a target, medians that keep censored runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gainrl.functional.statistics import Interval
from gainrl.functional.streams import generator


def area_under_curve(budgets: np.ndarray, scores: np.ndarray, budget: float) -> float:
    """Mean score over budgets from 0 to ``budget``: 1/B ∫ score db, by trapezia between evaluations.

    ``budgets`` and ``scores``: ``[points]``, budgets rising. Before the first point the score is the first, after the
    last it is the last. Raises ValueError where there is no point or ``budget`` is not positive.
    """
    if len(budgets) == 0 or budget <= 0:
        raise ValueError(f"an area needs a point or more and a positive budget, not {len(budgets)} and {budget}")
    budgets, scores = np.asarray(budgets, np.float64), np.asarray(scores, np.float64)
    inside = (budgets > 0) & (budgets < budget)
    at = np.concatenate([[0.0], budgets[inside], [float(budget)]])
    heights = np.interp(at, budgets, scores)
    return float(((heights[1:] + heights[:-1]) / 2 * np.diff(at)).sum() / budget)


def budget_to_target(budgets: np.ndarray, scores: np.ndarray, target: float) -> tuple[float, bool]:
    """Budget at which the score first reaches ``target``, on straight lines between evaluations, and True.

    A run that never reaches it gives its whole budget and False: it is censored there, not lost.
    """
    budgets, scores = np.asarray(budgets, np.float64), np.asarray(scores, np.float64)
    reached = np.flatnonzero(scores >= target)
    if len(reached) == 0:
        return float(budgets[-1]), False
    index = int(reached[0])
    if index == 0:
        return float(budgets[0]), True
    share = (target - scores[index - 1]) / (scores[index] - scores[index - 1])
    return float(budgets[index - 1] + share * (budgets[index] - budgets[index - 1])), True


def kaplan_meier(budgets: np.ndarray, reached: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted budgets and the share of runs still short of the target after each, ``[..., runs]`` both.

    S(b) = Π_{b_i <= b, reached} (1 - 1/n_i) with n_i the runs not yet done or censored before b_i. At equal budgets a
    run that reached counts before one that was censored. Source: Kaplan and Meier 1958.
    """
    budgets, reached = np.asarray(budgets, np.float64), np.asarray(reached, bool)
    order = np.lexsort((~reached, budgets), axis=-1)
    times = np.take_along_axis(budgets, order, -1)
    events = np.take_along_axis(reached, order, -1)
    at_risk = np.arange(budgets.shape[-1], 0, -1)
    return times, np.cumprod(1 - events / at_risk, axis=-1)


def median_budget(budgets: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """Smallest budget by which half of the runs have reached the target; infinite if that never comes. ``[...]``."""
    times, short = kaplan_meier(budgets, reached)
    done = short <= 0.5 + 1e-12
    first = np.take_along_axis(times, np.argmax(done, -1)[..., None], -1)[..., 0]
    return np.where(done.any(-1), first, np.inf)


def budget_ratio(
    arm: Sequence[np.ndarray], reference: Sequence[np.ndarray], *, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> Interval:
    """Ratio of median budgets, arm over reference, below 1 where the arm is cheaper, with a bootstrap interval.

    Both: an array ``[runs, 2]`` per base, of budget and whether the target was reached, over the same bases. Bases are
    resampled, then runs within them, the two arms apart. Infinite where the arm's median is not reached; NaN where the
    reference's is not, or where it had reached the target before training. Ends are quantiles without interpolation
    (they may be infinite), NaN if more than 5% of the resamples have no ratio. docs/analysis.md says what the interval
    covers.
    """
    if len(arm) != len(reference) or not arm:
        raise ValueError(f"{len(arm)} bases against {len(reference)}: give the same bases, one or more, for both")
    medians, drawn = [], []
    bases = generator(seed, "budget_ratio/bases").integers(0, len(arm), (draws, len(arm)))
    for side, cells in (("arm", arm), ("reference", reference)):
        table = np.concatenate(cells).astype(np.float64)
        sizes = np.array([len(cell) for cell in cells])
        starts = np.cumsum(sizes) - sizes
        chosen = bases.repeat(sizes, axis=1)
        places = generator(seed, f"budget_ratio/{side}").random(chosen.shape)
        rows = starts[chosen] + (places * sizes[chosen]).astype(int)
        medians.append(median_budget(table[:, 0], table[:, 1]))
        drawn.append(median_budget(table[rows, 0], table[rows, 1]))
    estimate = float(_ratio(*medians))
    ratios = _ratio(*drawn)
    known = ratios[~np.isnan(ratios)]
    if math.isnan(estimate) or len(known) < 0.95 * len(ratios):
        return Interval(estimate, math.nan, math.nan)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Interval(estimate, float(low), float(high))


def _ratio(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    known = np.isfinite(theirs) & (theirs > 0)
    return np.where(known, ours / np.where(known, theirs, 1.0), np.nan)
