"""Procedural problems of reasoning-gym: any of its tasks, mixed by weight, at chosen difficulty.

Every item is a function of (task, settings, seed), so a run needs no file. The held-out items are drawn first and
differ in their texts; a training item whose text occurs among them is drawn again.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any

import numpy as np
from reasoning_gym.dataset import ProceduralDataset
from reasoning_gym.factory import CURRICULA, DATASETS, create_curriculum, create_dataset

from gainrl.datasets.arrow import ArrowProblems, cached_problems
from gainrl.datasets.splits import DataSplits
from gainrl.functional.streams import generator, stream_key
from gainrl.types import Problem

_PATIENCE = 50  # items in a row that are held out already, before a task counts as exhausted


def reasoning_gym(
    *,
    tasks: Mapping[str, Mapping[str, Any]],
    size: int,
    held_out_size: int,
    seed: int = 0,
    cache_dir: str | None = None,
    held_out_only: bool = False,
) -> DataSplits:
    """``size`` training problems, and ``held_out_size`` different ones whose texts do not occur among them.

    ``tasks`` maps the name of a task to its settings: ``weight`` (its share, 1 if not given), ``levels`` (a list of
    steps of the task's own difficulty scale, from 0; the items are spread over them evenly and `Problem.level` is the
    step plus 1) and any parameter of the task's own configuration. ``extra`` holds the ``task`` and the whole
    ``entry`` as JSON text, which the task's scorer needs.

    Raises ValueError for an unknown task or setting, sizes below 1, and a task with too few different problems.
    """
    if size < 1 or held_out_size < 1:
        raise ValueError(f"size={size} and held_out_size={held_out_size} must both be at least 1")
    if not tasks:
        raise ValueError("tasks is empty; name at least one, for example dataset.tasks.chain_sum={}")
    plans = [_Plan(name, dict(settings or {})) for name, settings in tasks.items()]
    settings = {plan.name: plan.settings for plan in plans}
    key = [version("reasoning-gym"), settings, size, held_out_size, seed]

    def load(part: str) -> ArrowProblems:
        return cached_problems(
            lambda: _part(plans, size, held_out_size, seed, part),
            name=f"reasoning_gym_{part}",
            key=key,
            cache_dir=cache_dir,
        )

    return DataSplits(
        train=None if held_out_only else load("train"),
        held_out=load("held_out"),
        compare_by="source" if len(plans) > 1 else "level",
    )


def _part(plans: list[_Plan], size: int, held_out_size: int, seed: int, part: str) -> Iterator[Problem]:
    draw = _Draw(plans, seed, budget=_PATIENCE * (size + held_out_size))
    held_out = draw.problems("held_out", held_out_size)
    if part == "held_out":
        yield from held_out
    else:
        deque(held_out, maxlen=0)  # what is held out must be known before the first training item is drawn
        yield from draw.problems("train", size)


def require_task(name: str) -> None:
    """Raises ValueError for a name that is not a task of reasoning-gym: which it may be, and which there are."""
    if name not in DATASETS:
        near = get_close_matches(name, DATASETS, n=1)
        raise ValueError(
            f"{name!r} is not a task of reasoning-gym{f'; did you mean {near[0]!r}?' if near else ''} "
            f"It knows {', '.join(sorted(DATASETS))}"
        )


class _Plan:
    """A task with its weight and one source of items for each of its levels."""

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        require_task(name)
        self.name = name
        self.settings = settings
        self.weight = float(settings.get("weight", 1.0))
        if not self.weight > 0:
            raise ValueError(f"tasks.{name}.weight={self.weight} must be positive; leave the task out instead")
        if "levels" in settings and not (settings["levels"] and name in CURRICULA):
            raise ValueError(
                f"tasks.{name}.levels={settings['levels']} is empty or the task has no difficulty scale of its own; "
                "set the task's parameters instead"
            )
        self.levels: list[int | None] = list(settings.get("levels", [None]))
        self.sources(size=1, seed=0)  # faulty settings show here, before anything is drawn

    def sources(self, *, size: int, seed: int) -> list[ProceduralDataset]:
        """One reasoning-gym data set of ``size`` items for each level; item ``i`` depends on ``seed + i`` only."""
        knobs = {
            key: tuple(value) if isinstance(value, (list, tuple)) else value
            for key, value in self.settings.items()
            if key not in ("weight", "levels")
        }
        made = []
        for level in self.levels:
            arguments = self._scale(level) | knobs
            try:
                made.append(create_dataset(self.name, **arguments, size=size, seed=seed))
            except (TypeError, AssertionError, ValueError) as fault:
                raise ValueError(f"tasks.{self.name} cannot have the settings {arguments}: {fault}") from fault
        return made

    def _scale(self, level: int | None) -> dict[str, Any]:
        """The parameters of a step of the task's own difficulty scale."""
        if level is None:
            return {}
        curriculum = create_curriculum(self.name)
        steps = max(len(attribute.levels) for attribute in curriculum.attributes.values())
        if not 0 <= level < steps:
            raise ValueError(f"tasks.{self.name}.levels has {level}; its difficulty scale goes from 0 to {steps - 1}")
        curriculum.set_global_level(level)
        scaled = vars(curriculum.generate_configuration())
        return {key: value for key, value in scaled.items() if key not in ("size", "seed")}


class _Draw:
    """Items of each task and level, one after the other, that no held-out item equals."""

    def __init__(self, plans: list[_Plan], seed: int, budget: int) -> None:
        self._plans, self._seed = plans, seed
        self._held_out: set[str] = set()
        self._next = [[0] * len(plan.levels) for plan in plans]
        self._sources = [
            plan.sources(size=budget, seed=stream_key(seed, f"reasoning_gym/{plan.name}") % 2**31) for plan in plans
        ]

    def problems(self, part: str, size: int) -> Iterator[Problem]:
        weights = np.array([plan.weight for plan in self._plans])
        choices = generator(self._seed, f"reasoning_gym/{part}").choice(
            len(self._plans), size=size, p=weights / weights.sum()
        )
        seen = [0] * len(self._plans)
        for row, choice in enumerate(choices):
            plan, place = self._plans[choice], seen[choice] % len(self._plans[choice].levels)
            seen[choice] += 1
            entry = self._item(choice, place)
            if part == "held_out":
                self._held_out.add(_text(entry))
            level = plan.levels[place]
            yield Problem(
                id=f"{plan.name}-{part.replace('_', '-')}-{row:06d}",
                question=entry["question"],
                reference_answer="" if entry["answer"] is None else str(entry["answer"]),
                level=None if level is None else level + 1,
                source=f"reasoning_gym/{plan.name}",
                extra={"task": plan.name, "entry": json.dumps(entry, default=str)},
            )

    def _item(self, choice: int, place: int) -> dict[str, Any]:
        for _ in range(_PATIENCE):
            entry = self._sources[choice][place][self._next[choice][place]]
            self._next[choice][place] += 1
            if _text(entry) not in self._held_out:
                return entry
        plan = self._plans[choice]
        level = "" if plan.levels[place] is None else f" at level {plan.levels[place]}"
        raise ValueError(
            f"tasks.{plan.name}{level} has run out of problems that are not held out; make it harder, lower its "
            "weight, or ask for fewer held-out problems"
        )


def _text(entry: dict[str, Any]) -> str:
    return " ".join(entry["question"].split())
