r"""Short tasks: families of reasoning-gym in natural language, with answers that a small language model writes at once.

Answers are short so that a pretrained model can be trained on a CPU: most completions have fewer than ten tokens. Each
family has levels, settings of the task that its generator knows. A level is a step of its own family only: level 2 of
one is not as hard as level 2 of another, so that accuracies are compared by family (`DataSplits.compare_by`). In some
families a level has larger numbers and a token more, or one fewer (two numbers of two digits after three of one); a
harder haystack is half as long again. A signal that merely reads the length does not find the difficulty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from reasoning_gym.factory import create_dataset

from gainrl.datasets.arrow import ArrowProblems, cached_problems
from gainrl.datasets.levels import check_sizes, distinct
from gainrl.datasets.reasoning_gym import require_task
from gainrl.datasets.splits import DataSplits
from gainrl.functional.streams import stream_key
from gainrl.types import Problem

_ROOM = 100_000


def short_tasks(
    *,
    families: Mapping[str, Sequence[Mapping[str, Any]]],
    train_per_level: int,
    held_out_per_level: int,
    longest_answer: int = 32,
    seed: int = 0,
    cache_dir: str | None = None,
) -> DataSplits:
    r"""Training pool and held-out problems with no question in common.

    ``families`` maps the name of a task to the settings of its levels, the first of which is level 1; `Problem.source`
    is the family. A level without room for both parts trains on what is left. Items whose answers have more than
    ``longest_answer`` characters are drawn again. `Problem.solution` is the boxed answer, for a warm start.

    Raises ValueError for an unknown task or setting, sizes below 1, and a level without a training problem.
    """
    check_sizes(train_per_level=train_per_level, held_out_per_level=held_out_per_level, longest_answer=longest_answer)
    if not families:
        raise ValueError("dataset.families is empty; name one: 'dataset.families.gcd=[{max_value: 60}]'")
    plan = {name: [dict(settings or {}) for settings in levels] for name, levels in families.items()}
    for name, levels in plan.items():
        require_task(name)
        if not levels:
            raise ValueError(f"dataset.families.{name} has no level; give the settings of one, such as [{{}}]")
        for settings in levels:
            _source(name, settings, seed=0, size=1)  # faulty settings show here, before anything is drawn

    def problems(part: str) -> ArrowProblems:
        def build() -> Iterator[Problem]:
            for name, levels in plan.items():
                taken: set[str] = set()  # questions of lower levels: neighbouring settings may overlap
                for level, settings in enumerate(levels, start=1):
                    yield from _level(name, level, settings, part, taken)

        key = [version("reasoning-gym"), plan, train_per_level, held_out_per_level, longest_answer, seed]
        return cached_problems(build, name=f"short_tasks_{part}", key=key, cache_dir=cache_dir)

    def _level(name: str, level: int, settings: dict[str, Any], part: str, taken: set[str]) -> list[Problem]:
        source = _source(name, settings, seed=stream_key(seed, f"short_tasks/{name}", level) % 2**31, size=_ROOM)
        fresh = (
            entry
            for entry in (source[index] for index in range(_ROOM))
            if len(str(entry["answer"])) <= longest_answer and entry["question"] not in taken
        )
        entries = distinct(fresh, held_out_per_level + train_per_level, key=lambda entry: entry["question"])
        if len(entries) <= held_out_per_level:
            raise ValueError(
                f"level {level} of {name} has only {len(entries)} different questions and all are held out; type "
                f"dataset.held_out_per_level={max(1, len(entries) // 3)} or give it wider settings"
            )
        taken.update(entry["question"] for entry in entries)
        chosen = entries[:held_out_per_level] if part == "held_out" else entries[held_out_per_level:]
        return [
            _problem(entry, name, level, f"{part.replace('_', '-')}-{level}-{number:04d}")
            for number, entry in enumerate(chosen)
        ]

    return DataSplits(train=problems("train"), held_out=problems("held_out"), compare_by="source")


def _source(name: str, settings: Mapping[str, Any], *, seed: int, size: int) -> Any:
    known = {key: tuple(value) if isinstance(value, (list, tuple)) else value for key, value in settings.items()}
    try:
        return create_dataset(name, **known, size=size, seed=seed)
    except (TypeError, AssertionError, ValueError) as fault:
        raise ValueError(f"dataset.families.{name} cannot have the settings {dict(settings)}: {fault}") from fault


def _problem(entry: dict[str, Any], family: str, level: int, name: str) -> Problem:
    answer = str(entry["answer"])
    return Problem(
        id=f"{family}-{name}",
        question=entry["question"].strip(),
        reference_answer=answer,
        level=level,
        solution=f"\\boxed{{{answer}}}",
        source=family,
        extra={"task": family, "entry": json.dumps(entry, default=str)},
    )
