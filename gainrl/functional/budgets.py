"""Accuracy against what was spent: area under a curve, budget to reach a target, medians that keep censored runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gainrl.functional.statistics import Interval, resamples


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
    arm: Sequence[tuple[float, bool]],
    reference: Sequence[tuple[float, bool]],
    *,
    sizes: Sequence[int] | None = None,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """Ratio of median budgets, arm over reference, below 1 where the arm is cheaper; runs given as pairs in one order.

    ``sizes``: pairs of each task, in that order, all of one task by default. Runs of a pair are resampled together, and
    pairs within their task. Infinite where the arm's median is not reached; NaN where the reference's is not, or
    where it had reached the target before training. Ends are quantiles without interpolation (they may be infinite),
    NaN if more than 5% of the resamples have no ratio.
    """
    if len(arm) != len(reference) or not arm:
        raise ValueError(f"{len(arm)} runs against {len(reference)}: give pairs, one or more")
    sizes = [len(arm)] if sizes is None else list(sizes)
    if sum(sizes) != len(arm):
        raise ValueError(f"sizes={sizes} add up to {sum(sizes)} pairs, not to the {len(arm)} that are given")
    table = np.array([[*a, *r] for a, r in zip(arm, reference, strict=True)], np.float64)
    estimate = float(_ratio(table[None])[0])
    ratios = _ratio(table[resamples(sizes, draws=draws, seed=seed, name="budget_ratio")])
    known = ratios[~np.isnan(ratios)]
    if math.isnan(estimate) or len(known) < 0.95 * len(ratios):
        return Interval(estimate, math.nan, math.nan)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Interval(estimate, float(low), float(high))


def _ratio(tables: np.ndarray) -> np.ndarray:
    """``[R, pairs, 4]`` with budget and reached of both to ``[R]``."""
    ours = median_budget(tables[..., 0], tables[..., 1])
    theirs = median_budget(tables[..., 2], tables[..., 3])
    known = np.isfinite(theirs) & (theirs > 0)
    return np.where(known, ours / np.where(known, theirs, 1.0), np.nan)
