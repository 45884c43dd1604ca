"""Small programs: a generated stand-in for code data sets, small enough for the embedded model to learn.

    question  b plus 3 c cap 5        program  def f(a):
                                                b=a+3
                                                c=min(b,5)
                                                return c

Every step makes one variable of the one before it, the first of the argument ``a``. A program is right if its function
``f`` maps every tested argument to what the steps make of it, however it is written; level ``k`` has ``steps[k - 1]``
steps. As in MBPP, `Problem.extra` holds the tests as assertions, so that ``reward=code`` runs them in its sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from string import ascii_lowercase

import numpy as np

from gainrl.datasets.arrow import ArrowProblems, cached_problems
from gainrl.datasets.levels import check_growing, check_sizes, distinct
from gainrl.datasets.splits import DataSplits
from gainrl.functional.streams import generator
from gainrl.types import Problem

# Name: the expression of a step, and what it computes.
_OPERATIONS: dict[str, tuple[str, Callable[[int, int], int]]] = {
    "plus": ("{0}+{1}", lambda value, digit: value + digit),
    "minus": ("{0}-{1}", lambda value, digit: value - digit),
    "times": ("{0}*{1}", lambda value, digit: value * digit),
    "cap": ("min({0},{1})", min),
    "floor": ("max({0},{1})", max),
    "mod": ("{0}%{1}", lambda value, digit: value % digit),
}
_ARGUMENTS = (-9, -4, -1, 0, 1, 2, 3, 5, 8, 13, 40)  # on both sides of every cap, floor and modulus

Step = tuple[str, int]


def small_programs(
    *,
    steps: Sequence[int],
    train_per_level: int,
    held_out_per_level: int,
    seed: int = 0,
    cache_dir: str | None = None,
) -> DataSplits:
    """Training pool and held-out problems with no question in common; `Problem.level` counts ``steps`` from 1.

    Raises ValueError for sizes below 1, steps that do not grow, or a level without a training problem.
    """
    steps = list(steps)
    check_sizes(train_per_level=train_per_level, held_out_per_level=held_out_per_level)
    check_growing("steps", steps, 1, len(ascii_lowercase) - 1)

    def problems(part: str) -> ArrowProblems:
        def build() -> Iterator[Problem]:
            for level, count in enumerate(steps, start=1):
                questions = _distinct(count, held_out_per_level + train_per_level, seed)
                if len(questions) <= held_out_per_level:
                    raise ValueError(
                        f"level {level} has only {len(questions)} different questions and all are held out; type "
                        f"dataset.held_out_per_level={max(1, len(questions) // 3)}"
                    )
                chosen = questions[held_out_per_level:] if part == "train" else questions[:held_out_per_level]
                for number, chain in enumerate(chosen):
                    yield _problem(chain, level, f"{part.replace('_', '-')}-{level}-{number:04d}")

        key = [steps, train_per_level, held_out_per_level, seed]
        return cached_problems(build, name=f"small_programs_{part}", key=key, cache_dir=cache_dir)

    return DataSplits(train=problems("train"), held_out=problems("held_out"))


def _distinct(count: int, wanted: int, seed: int) -> list[tuple[Step, ...]]:
    """Up to ``wanted`` different chains of ``count`` steps, in the order of their draw."""
    draw = generator(seed, "small_programs", count)
    return distinct((tuple(_step(draw) for _ in range(count)) for _ in repeat(None)), wanted, key=tuple)


def _step(draw: np.random.Generator) -> Step:
    name = list(_OPERATIONS)[draw.integers(len(_OPERATIONS))]
    return name, int(draw.integers(2, 10))  # times 1 and mod 1 would forget or do nothing


def _problem(chain: Sequence[Step], level: int, name: str) -> Problem:
    letters = ascii_lowercase[: len(chain) + 1]
    question = " ".join(f"{letter} {step} {digit}" for letter, (step, digit) in zip(letters[1:], chain, strict=True))
    lines = [
        f" {letter}={_OPERATIONS[step][0].format(before, digit)}"
        for before, letter, (step, digit) in zip(letters, letters[1:], chain, strict=False)
    ]
    program = "\n".join(["def f(a):", *lines, f" return {letters[-1]}"])
    tests = "".join(f"assert f({argument}) == {_value(chain, argument)}\n" for argument in _ARGUMENTS)
    return Problem(
        id=f"small-programs-{name}",
        question=question,
        reference_answer=program,
        level=level,
        difficulty=float(level),
        solution=f"```python\n{program}\n```",
        source="small_programs",
        extra={"entry_point": "f", "tests": tests},
    )


def _value(chain: Sequence[Step], argument: int) -> int:
    for step, digit in chain:
        argument = _OPERATIONS[step][1](argument, digit)
    return argument
