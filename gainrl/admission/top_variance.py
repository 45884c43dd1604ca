"""PODS: of each group, train on the completions whose verdicts vary most (arXiv 2504.13818).

The advantages of the chosen completions are computed among themselves, which is up to the trainer.

Departure from the paper: the variance is taken over raw verdicts, so that a shaped reward cannot change the choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gainrl.types import AdmissionDecision, GroupOutcome


class AdmitTopVariance:
    """Keeps every group, and of its ``n`` valid completions the ``max(2, round(keep_fraction n))`` that vary most.

    Raises ValueError for a ``keep_fraction`` outside (0, 1].
    """

    def __init__(self, *, keep_fraction: float = 0.5) -> None:
        if not 0 < keep_fraction <= 1:
            raise ValueError(f"keep_fraction={keep_fraction} is no share of a group: type a number in (0, 1]")
        self.keep_fraction = keep_fraction

    def admit(self, groups: Sequence[GroupOutcome], wanted: int, round_: int) -> AdmissionDecision:
        return AdmissionDecision(kept=list(range(len(groups))), rejected=[])

    def select(self, group: GroupOutcome) -> np.ndarray:
        valid = np.flatnonzero(group.valid)
        size = min(len(valid), max(2, round(self.keep_fraction * len(valid))))
        return valid[largest_variance(group.correct[valid].astype(float), size)]


def largest_variance(values: np.ndarray, size: int) -> np.ndarray:
    """Ascending indices of the ``size`` of ``values`` (``[n]``) with the largest variance, in ``O(n log n)``.

    The best subset is always the ``a`` lowest and ``size - a`` highest for some ``a``: prefix sums give the variance of
    each in constant time. Among equal ones the smallest ``a`` wins.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order] - values.mean() if len(values) else values[order]
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    squares = np.concatenate([[0.0], np.cumsum(ordered**2)])
    low = np.arange(size + 1)
    high = len(values) - (size - low)
    total = sums[low] + sums[-1] - sums[high]
    variance = (squares[low] + squares[-1] - squares[high]) / max(size, 1) - (total / max(size, 1)) ** 2
    best = int(np.argmax(variance >= variance.max() - 1e-12))
    return np.sort(np.concatenate([order[:best], order[len(values) - (size - best) :]]))
