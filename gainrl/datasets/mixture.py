"""Several data sets in one run, each with a share of the pool; `Problem.source` ends in the name of its data set."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gainrl.datasets.arrow import ArrowProblems, joined
from gainrl.datasets.checks import arrow_problems
from gainrl.datasets.splits import DataSplits
from gainrl.types import ProblemSet

_EXAMPLE = "type dataset@dataset.sources.easy=gsm8k dataset@dataset.sources.hard=math"


def mixture(
    *, sources: Mapping[str, DataSplits], weights: Mapping[str, float] | None = None, held_out_only: bool = False
) -> DataSplits:
    """The training pools of ``sources`` as one pool, and their held-out problems as one set, compared by source.

    ``weights``: shares of the pool, of any sum. The pool is as large as it can be without repeating a problem: the set
    that is smallest for its weight is used whole, of the others problems evenly spaced over the set. Without weights
    all problems of all sets are in the pool. What a set teaches a warm start is not thinned out. Levels stay those of
    each set.

    Raises ValueError for fewer than two sources, names that do not match, and weights that are not positive.
    """
    if len(sources) < 2:
        raise ValueError(f"a mixture needs two data sets and has {len(sources)}: {_EXAMPLE}")
    for name in sources:
        if "/" in name:
            raise ValueError(f"dataset.sources.{name}: the name of a source must not hold a '/'; choose another")
    if weights is not None:
        _check(weights, sources)
    trains = {name: part.train for name, part in sources.items() if part.train is not None}
    lessons = {name: part.warm_start for name, part in sources.items() if part.warm_start is not None}
    held_out = {name: part.held_out for name, part in sources.items() if part.held_out is not None}
    if weights is not None and set(trains) != set(sources) and not held_out_only:
        empty = next(name for name in sources if name not in trains)
        raise ValueError(f"dataset.sources.{empty} has no training problems to give a share of the pool: leave it out")
    pool = {name: arrow_problems(part) for name, part in trains.items()}
    if weights is not None and pool:
        pool = {name: _spaced(pool[name], size) for name, size in shares(pool, weights).items()}
    return DataSplits(
        train=joined(pool, name="mixture") if pool and not held_out_only else None,
        held_out=_together(held_out),
        lessons=_together(lessons) if weights is not None or _taught_apart(sources) else None,
        compare_by="source",
    )


def shares(pool: Mapping[str, ArrowProblems], weights: Mapping[str, float]) -> dict[str, int]:
    """How many problems of each set the pool holds, one at least."""
    scale = min(len(part) / weights[name] for name, part in pool.items())
    return {name: max(1, math.floor(scale * weights[name] + 1e-9)) for name in pool}


def _check(weights: Mapping[str, float], sources: Mapping[str, DataSplits]) -> None:
    if set(weights) != set(sources):
        raise ValueError(
            f"dataset.weights names {', '.join(weights)}, and the sources are {', '.join(sources)}: give each a weight"
        )
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < math.inf:
            raise ValueError(
                f"dataset.weights.{name}={weight} is no share: type a positive number, or leave the source out with "
                f"'~dataset.sources.{name}'"
            )


def _spaced(problems: ArrowProblems, size: int) -> ArrowProblems:
    if size == len(problems):
        return problems
    return problems.select(np.linspace(0, len(problems) - 1, size).round().astype(np.int64))


def _taught_apart(sources: Mapping[str, DataSplits]) -> bool:
    return any(part.lessons is not None for part in sources.values())


def _together(parts: Mapping[str, ProblemSet]) -> ArrowProblems | None:
    return joined({name: arrow_problems(part) for name, part in parts.items()}, name="mixture") if parts else None
