"""From scores or probabilities to distinct rows. Rows in ``exclude`` are never picked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gainrl.functional.ranking import kept_part, rank_order
from gainrl.functional.streams import generator
from gainrl.types import SignalScores


def learning_order(signal: SignalScores, seed: int) -> np.ndarray:
    """All rows in the order in which ``signal`` has them learnt (`functional.ranking.rank_order`), ties shuffled."""
    return rank_order(signal.values, signal.learn_first, generator(seed, "selection", "ties"))


def kept_order(signal: SignalScores, count: int, keep: str, seed: int) -> np.ndarray:
    """The ``count`` rows of `learning_order` that ``keep`` names (`functional.ranking.kept_part`)."""
    return kept_part(learning_order(signal, seed), signal.values, count, keep, generator(seed, "selection", "kept"))


def candidates(size: int, n: int, exclude: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """``n`` rows of ``0 .. size - 1``, uniformly and in random order; all that are left if they are fewer."""
    rows = rng.choice(size, min(size, n + len(exclude)), replace=False)
    return rows[~np.isin(rows, np.asarray(exclude, np.int64))][:n]


def best(rows: np.ndarray, scores: np.ndarray, n: int) -> np.ndarray:
    """The ``n`` rows with the highest scores, best first; ``rows`` in random order break ties at random."""
    return rows[np.argsort(-scores, kind="stable")[:n]]


def proportional(weights: np.ndarray, n: int, exclude: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """``n`` rows drawn one after the other with probability proportional to ``weights`` (``[N]``, none negative).

    Rows of weight 0 are drawn, uniformly, only once all others are used up.
    """
    with np.errstate(divide="ignore"):
        keys = np.log(weights) - np.log(rng.standard_exponential(len(weights)))
    empty = weights == 0
    keys[empty] = rng.random(int(empty.sum())) - 1e6  # below every key of a positive float64 weight
    keys[np.asarray(exclude, np.int64)] = -np.inf
    first = np.argpartition(keys, len(keys) - n)[len(keys) - n :]
    return first[np.argsort(-keys[first])]


def slots(probabilities: np.ndarray, n: int, capacities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How many of ``n`` slots each class gets (``[K]``): multinomial, never above its capacity.

    What a full class cannot take is drawn again among the others, evenly per free prompt where these have
    probability 0. ``capacities`` must sum to ``n`` at least.
    """
    counts = np.zeros(len(probabilities), np.int64)
    while (left := n - int(counts.sum())) > 0:
        free = capacities - counts
        weights = np.where(free > 0, probabilities, 0.0)
        weights = weights if weights.sum() > 0 else free.astype(float)
        counts = np.minimum(counts + rng.multinomial(left, weights / weights.sum()), capacities)
    return counts


class ClassWalk:
    """Walks each class of prompts without replacement, pass after pass, each in a fresh random order.

    ``classes``: ``[N]`` from 0. The permutation of pass ``k`` of class ``c`` comes from stream
    ``(seed, "selection", name, c, k)``, so that the state is one counter per class.
    """

    def __init__(self, name: str, classes: np.ndarray, seed: int) -> None:
        self._name, self._seed, self._classes = name, seed, classes
        by_class = np.argsort(classes, kind="stable")
        self._members = np.split(by_class, np.cumsum(np.bincount(classes))[:-1])
        self.taken = [0] * len(self._members)
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def draw(self, probabilities: np.ndarray, n: int, exclude: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        """``n`` rows, in random order: a class for each slot (`slots`), then the next prompts of the class."""
        blocked = np.unique(np.asarray(exclude, np.int64))
        capacities = np.array([len(members) for members in self._members])
        capacities -= np.bincount(self._classes[blocked], minlength=len(self))
        rows: list[int] = []
        used = set(blocked.tolist())
        for number, count in enumerate(slots(probabilities, n, capacities, rng)):
            wanted = len(rows) + count
            while len(rows) < wanted:
                row = self._next(number)
                if row not in used:
                    used.add(row)
                    rows.append(row)
        return rng.permutation(np.array(rows, np.int64))

    def _next(self, number: int) -> int:
        number_of_pass, position = divmod(self.taken[number], len(self._members[number]))
        cached = self._orders.get(number)
        if cached is None or cached[0] != number_of_pass:
            stream = generator(self._seed, "selection", self._name, number, number_of_pass)
            cached = self._orders[number] = (number_of_pass, stream.permutation(self._members[number]))
        self.taken[number] += 1
        return int(cached[1][position])
