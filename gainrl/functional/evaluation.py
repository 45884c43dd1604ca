"""Accuracy of a policy on held-out problems from ``n`` sampled completions each: avg@k, pass@k, maj@k, intervals.

With ``c`` of ``n`` completions of a problem correct::

    avg@n   = c / n
    pass@k  = 1 - C(n - c, k) / C(n, k)         unbiased, k <= n; Chen et al., arXiv 2107.03374
    maj@k   = chance that the most frequent answer of k completions is correct, ties broken evenly
                                                Wang et al., arXiv 2203.11171

Sampling k of n with replacement, as some trainers do, underestimates pass@k.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from gainrl.functional.statistics import Interval
from gainrl.functional.streams import generator


def average_at_k(correct_NK: np.ndarray) -> np.ndarray:
    """Share of correct completions per problem, ``[N]`` float64; ``correct_NK``: 0/1, one column per completion."""
    correct_NK = _outcomes(correct_NK)
    return correct_NK.mean(axis=1)


def pass_at_k(correct_NK: np.ndarray, k: int) -> np.ndarray:
    """Unbiased estimate per problem, ``[N]`` float64, of the chance that one of ``k`` completions is correct.

    Computed as ``1 - prod_{j=0}^{k-1} (n - c - j) / (n - j)``, whose factors lie in [0, 1], so that nothing overflows
    and no two large numbers are subtracted. Raises ValueError unless ``1 <= k <= n``.
    """
    correct_NK = _outcomes(correct_NK)
    n = correct_NK.shape[1]
    _check_k(k, n)
    wrong_N = n - correct_NK.sum(axis=1)
    steps = np.arange(k)
    factors = np.clip(wrong_N[:, None] - steps[None, :], 0, None) / (n - steps)[None, :]
    return 1.0 - factors.prod(axis=1)


def majority_at_k(answers: Sequence[Hashable | None], correct: Sequence[bool], k: int | None = None) -> float:
    """Chance that majority voting over one problem's first ``k`` completions (all of them if None) is right.

    ``answers``: one key per completion, equal for equivalent answers; None where no answer could be read, which votes
    for nothing. Ties are broken evenly: with m answers in the lead of which w are correct the result is w / m. An
    answer counts as correct if any completion that gave it was judged correct. 0.0 where nobody voted.
    """
    if len(answers) != len(correct):
        raise ValueError(f"got {len(answers)} answers and {len(correct)} judgements; they must be as many")
    k = len(answers) if k is None else k
    _check_k(k, len(answers))
    votes: dict[Hashable, int] = {}
    right: dict[Hashable, bool] = {}
    for answer, is_correct in zip(answers[:k], correct[:k], strict=True):
        if answer is not None:
            votes[answer] = votes.get(answer, 0) + 1
            right[answer] = right.get(answer, False) or bool(is_correct)
    if not votes:
        return 0.0
    most = max(votes.values())
    leaders = [answer for answer, count in votes.items() if count == most]
    return sum(right[answer] for answer in leaders) / len(leaders)


def bootstrap_interval(
    values_N: np.ndarray,
    *,
    seed: int,
    name: str = "bootstrap",
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Percentile bootstrap over problems of the mean of ``values_N`` (one number per problem).

    Problems are the unit that is drawn again, since completions of one problem are not independent. The draws come
    from stream ``name`` of ``seed``, so that the same values give the same interval. Efron (1979), "Bootstrap methods".
    Raises ValueError where there is no value, a value is not finite, or ``level`` is not between 0 and 1.
    """
    values_N = np.asarray(values_N, dtype=np.float64)
    if values_N.ndim != 1 or values_N.size == 0 or not np.isfinite(values_N).all():
        raise ValueError(f"an interval needs a list of at least one finite number; got shape {values_N.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level={level!r} must lie between 0 and 1, such as 0.95")
    if resamples < 1:
        raise ValueError(f"resamples={resamples!r} must be at least 1, such as 2000")
    rng = generator(seed, name, values_N.size)
    # In chunks, so that a thousand problems and many resamples stay small in memory.
    chunk = max(1, 4_000_000 // values_N.size)
    estimates = [
        values_N[rng.integers(0, values_N.size, size=(min(chunk, resamples - start), values_N.size))].mean(axis=1)
        for start in range(0, resamples, chunk)
    ]
    low, high = np.quantile(np.concatenate(estimates), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values_N.mean()), float(low), float(high))


def _outcomes(correct_NK: np.ndarray) -> np.ndarray:
    outcomes = np.asarray(correct_NK, dtype=np.float64)
    if outcomes.ndim != 2 or outcomes.shape[1] == 0:
        raise ValueError(f"outcomes must have shape [problems, completions >= 1]; got {outcomes.shape}")
    if not np.isin(outcomes, (0.0, 1.0)).all():
        raise ValueError("outcomes must be 0 or 1: accuracy is measured on the raw verdict, not on a shaped reward")
    return outcomes


def _check_k(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k={k} must be at least 1 and at most the {n} completions of a problem")
