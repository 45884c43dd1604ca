"""The embedded data set: running totals (`running_totals`) in levels, level ``k`` with ``terms[k - 1]`` terms.

Every level draws distinct questions. The held-out problems come first; a level that has too few distinct questions for
both splits (two terms make 110 with totals up to 9) trains on what is left, which `level_counts` reports.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import version
from operator import itemgetter
from string import ascii_lowercase
from typing import Literal, get_args

import numpy as np

from gainrl.datasets.arrow import ArrowProblems, cached_problems
from gainrl.datasets.levels import check_growing, check_sizes, distinct
from gainrl.datasets.running_totals import TASK, running_totals
from gainrl.datasets.splits import DataSplits
from gainrl.functional.streams import stream_key
from gainrl.types import Problem, ProblemSet

_ROOM = 1_000_000
_DOTS_PER_TERM = "..."
_SKEW_RATIO = 2.0  # between neighbouring levels of a skewed pool

Skew = Literal["flat", "easy", "hard"]


def arithmetic(
    *,
    terms: Sequence[int],
    largest_total: int = 9,
    train_per_level: int,
    held_out_per_level: int,
    skew: Skew = "flat",
    equal_length: bool = False,
    seed: int = 0,
    cache_dir: str | None = None,
) -> DataSplits:
    """Training pool and held-out problems with no question in common; `Problem.level` counts ``terms`` from 1.

    A training question that differs from a held-out one in its signs only is left out as well.
    ``equal_length``: shorter questions end in dots, three for each missing term, which is as many tokens of the
    embedded model, so that length says nothing about the level.
    ``skew``: which end most of the training pool comes from, see `level_sizes`; held-out problems are the same for all,
    and so are those of a warm start, which learns from the flat pool.
    Raises ValueError for sizes below 1, terms that do not grow, or a level without a training problem.
    """
    terms = list(terms)
    check_sizes(largest_total=largest_total, train_per_level=train_per_level, held_out_per_level=held_out_per_level)
    check_growing("terms", terms, 2, len(ascii_lowercase))

    def problems(part: str, skew: Skew = skew) -> ArrowProblems:
        sizes_by_level = level_sizes(len(terms), train_per_level, skew)

        def build() -> Iterator[Problem]:
            for level, count in enumerate(terms, start=1):
                entries = _distinct(count, largest_total, held_out_per_level + sizes_by_level[level - 1], seed)
                held_out, rest = entries[:held_out_per_level], entries[held_out_per_level:]
                near = {_without_signs(entry) for entry in held_out}
                train = [(number, entry) for number, entry in enumerate(rest) if _without_signs(entry) not in near]
                if not train:
                    raise ValueError(
                        f"level {level} has only {len(entries)} different questions and all are held out or nearly so; "
                        f"type dataset.held_out_per_level={max(1, len(entries) // 3)} or a larger dataset.largest_total"
                    )
                for number, entry in train if part == "train" else enumerate(held_out):
                    dots = _DOTS_PER_TERM * (terms[-1] - count) if equal_length else ""
                    yield _problem(entry, level, f"{part.replace('_', '-')}-{level}-{number:04d}", dots)

        key = [version("reasoning-gym"), terms, largest_total, train_per_level, held_out_per_level, seed]
        key += [] if skew == "flat" else [skew]
        key += ["equal length"] if equal_length else []
        return cached_problems(build, name=f"arithmetic_{part}", key=key, cache_dir=cache_dir)

    lessons = None if skew == "flat" else problems("train", "flat")
    return DataSplits(train=problems("train"), held_out=problems("held_out"), lessons=lessons)


def _without_signs(entry: dict) -> str:
    return entry["question"].replace("+", "").replace("-", "")


def level_sizes(levels: int, per_level: int, skew: Skew) -> list[int]:
    """Training problems wanted of each level, ``levels * per_level`` in all up to rounding.

    ``easy``: every level has twice as many as the next; ``hard``: half as many; ``flat``: all the same. At least 1.
    Raises ValueError for another ``skew``.
    """
    if skew not in get_args(Skew):
        raise ValueError(f"dataset.skew={skew!r} is unknown; type one of {', '.join(get_args(Skew))}")
    ratio = {"flat": 1.0, "easy": 1 / _SKEW_RATIO, "hard": _SKEW_RATIO}[skew]
    weights = [ratio**level for level in range(levels)]
    return [max(1, round(levels * per_level * weight / sum(weights))) for weight in weights]


def level_counts(problems: ProblemSet) -> dict[int, int]:
    """How many problems each level has."""
    levels = problems.column("level")
    if levels is None:
        return {}
    values, counts = np.unique(levels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _distinct(terms: int, largest_total: int, wanted: int, seed: int) -> list[dict]:
    """Up to ``wanted`` items with different questions, in the order of their draw."""
    draw = partial(
        running_totals, terms=terms, largest_total=largest_total, seed=stream_key(seed, "arithmetic", terms) % 2**31
    )
    return distinct(map(draw, range(_ROOM)), wanted, key=itemgetter("question"))


def _problem(entry: dict, level: int, name: str, dots: str) -> Problem:
    return Problem(
        id=f"arithmetic-{name}",
        question=entry["question"] + dots,
        reference_answer=entry["answer"],
        level=level,
        difficulty=float(level),
        solution=f"\\boxed{{{entry['answer']}}}",
        source=f"reasoning_gym/{TASK}",
        extra={"task": TASK, "module": "gainrl.datasets.running_totals", "entry": json.dumps(entry)},
    )
