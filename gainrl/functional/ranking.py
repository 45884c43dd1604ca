"""Ranks of a signal, and the Gaussian draw of ranks that GAIN-RL learns from.

Departures from the released code of arXiv 2506.02281:

1. Ties are broken by a seeded shuffle, not by the row number, which often encodes where a problem came from.
2. Weights are compared in log space and relative to the largest one, so that a centre far outside the pool still
   draws; the released code fails once all weights underflow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

KEEP = ("easiest", "hardest", "concentrated", "spread", "middle", "random")

_RACE_LIMIT = 1 << 17  # ranks: up to here one random number per rank is the fastest way to draw
_BLOCKS = 4096
_LOG_ERROR = 64 * math.log(2)  # leaving ranks out changes the distribution by at most 2^-64 in total variation


def rank_order(values: np.ndarray, learn_first: Literal["high", "low"], rng: np.random.Generator) -> np.ndarray:
    """Rows in learning order: entry ``i`` of the result is the row of rank ``i``, rank 0 being learnt first.

    ``values``: ``[N]`` float. Equal values are in the order of a shuffle by ``rng``; NaN comes last.
    Raises ValueError if ``learn_first`` is neither ``high`` nor ``low``.
    """
    if learn_first not in ("high", "low"):
        raise ValueError(f"learn_first={learn_first!r} names no end of a signal: type 'high' or 'low'")
    keys = np.asarray(values, np.float64)
    keys = -keys if learn_first == "high" else keys
    shuffle = rng.permutation(len(keys))
    return shuffle[np.argsort(keys[shuffle], kind="stable")]


def reversed_order(order: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``order`` from its other end; rows whose value is NaN stay last, since they are at neither end of the signal."""
    known = ~np.isnan(values[order])
    return np.concatenate([order[known][::-1], order[~known]])


def kept_part(order: np.ndarray, values: np.ndarray, count: int, keep: str, rng: np.random.Generator) -> np.ndarray:
    """The ``count`` rows of ``order`` that ``keep`` names, in the order they had.

    ``easiest`` (of angles: ``concentrated``) takes the end that is learnt first, ``hardest`` (``spread``) the other
    end, ``middle`` the rows around the middle, ``random`` any rows, the same for every order of the same rows. Rows
    whose value is NaN lie nowhere on the signal and are taken only once all others are. Raises ValueError for another
    word.
    """
    if keep not in KEEP:
        raise ValueError(f"keep={keep!r} names no part of the pool: type one of {', '.join(KEEP)}")
    known = int((~np.isnan(values[order])).sum())  # they come first
    if keep in ("easiest", "concentrated") or count >= known:
        return order[:count]
    if keep == "random":
        lot = rng.permutation(len(values))  # of each row
        return order[np.sort(np.argsort(lot[order[:known]])[:count])]
    low = (known - count) // 2 if keep == "middle" else known - count
    return order[low : low + count]


def gaussian_draw(
    size: int,
    count: int,
    center: float,
    width: float,
    rng: np.random.Generator,
    exclude: Sequence[int] | np.ndarray = (),
) -> np.ndarray:
    """``count`` distinct ranks of ``0 .. size - 1``, ascending, drawn one after the other without replacement.

    Each draw takes a remaining rank ``i`` with probability proportional to
    ``exp(-(i - center)^2 / (2 width^2))`` (arXiv 2506.02281, section "Gaussian sampling"). ``center`` and ``width``
    are in ranks; ``center`` may lie anywhere. Ranks in ``exclude`` are never drawn.

    Only a window of ranks is looked at. After fewer than ``count`` draws one of the ``count + len(exclude)`` ranks
    nearest to the centre is still there; the window ends where all ranks beyond it together weigh less than
    ``2^-64 / count`` of that one. A window too large for one random number per rank is drawn from by rejection:
    draws with replacement, repeats left out, have the same distribution.

    Raises ValueError if fewer than ``count`` ranks are left, or if ``center`` or ``width`` cannot be used.
    """
    blocked = np.unique(np.asarray(exclude, np.int64))
    blocked = blocked[(blocked >= 0) & (blocked < size)]
    if not 0 <= count <= size - len(blocked):
        raise ValueError(
            f"{count} distinct ranks were asked for, but the pool has {size} of which {len(blocked)} are excluded: "
            "ask for fewer prompts per step or use more problems"
        )
    if not (math.isfinite(center) and math.isfinite(width) and width > 0):
        raise ValueError(f"center={center}, width={width} define no Gaussian: both must be finite and width positive")
    if count == 0:
        return np.empty(0, np.int64)
    low, high = _window(size, count, count + len(blocked), center, width)
    if high - low > _RACE_LIMIT and 16 * (count + len(blocked)) <= high - low:
        return _draw_by_rejection(low, high, count, center, width, rng, blocked)
    return _draw_by_race(low, high, count, center, width, rng, blocked)


def _window(size: int, count: int, nearest: int, center: float, width: float) -> tuple[int, int]:
    """The half-open range of ranks outside of which nothing is drawn (see `gaussian_draw`)."""
    outside = max(0.0, -center, center - (size - 1))
    exponent = _LOG_ERROR + math.log(count) + math.log(size)
    reach = math.hypot(outside + nearest, width * math.sqrt(2 * exponent)) + 1.0
    return max(0, math.floor(max(center - reach, -1.0))), min(size, math.ceil(min(center + reach, float(size))) + 1)


def _log_weights(ranks: np.ndarray, peak: int, center: float, width: float) -> np.ndarray:
    # Relative to the weight at `peak`, as a product: the difference of two squares would lose all digits when the
    # centre is far away.
    with np.errstate(over="ignore"):
        return -((ranks - peak) / width) * ((ranks + peak - 2 * center) / width) / 2


def _peak(low: int, high: int, center: float) -> int:
    return int(np.clip(np.rint(center), low, high - 1))


def _draw_by_race(
    low: int, high: int, count: int, center: float, width: float, rng: np.random.Generator, blocked: np.ndarray
) -> np.ndarray:
    """The ``count`` first of a race in which rank ``i`` arrives after an exponential time of rate ``weight(i)``."""
    ranks = np.arange(low, high)
    keys = _log_weights(ranks, _peak(low, high, center), center, width) - np.log(rng.standard_exponential(len(ranks)))
    keys[blocked[(blocked >= low) & (blocked < high)] - low] = -np.inf
    first = np.argpartition(keys, len(keys) - count)[len(keys) - count :]
    return np.sort(ranks[first])


def _draw_by_rejection(
    low: int, high: int, count: int, center: float, width: float, rng: np.random.Generator, blocked: np.ndarray
) -> np.ndarray:
    """Draws with replacement, repeats left out: a block by its upper bound, a rank in it, accepted by its weight."""
    edges = np.linspace(low, high, _BLOCKS + 1).astype(np.int64)
    starts, sizes = edges[:-1], np.diff(edges)
    peak = _peak(low, high, center)
    bounds = _log_weights(np.clip(peak, starts, starts + sizes - 1), peak, center, width)
    mass = np.cumsum(sizes * np.exp(bounds))
    taken = set(blocked.tolist())
    chosen: list[int] = []
    while len(chosen) < count:
        block = np.searchsorted(mass, rng.random(2 * count) * mass[-1], side="right").clip(max=_BLOCKS - 1)
        ranks = starts[block] + (rng.random(2 * count) * sizes[block]).astype(np.int64)
        accepted = rng.random(2 * count) < np.exp(_log_weights(ranks, peak, center, width) - bounds[block])
        for rank in ranks[accepted].tolist():
            if rank not in taken and len(chosen) < count:
                taken.add(rank)
                chosen.append(rank)
    return np.sort(np.array(chosen, np.int64))
