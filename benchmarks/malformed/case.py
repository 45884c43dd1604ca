"""One malformed input: files in a folder, and what is typed beside the command that would train on good ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

DATA = "mine.jsonl"

# What makes a run of the good files; a case adds its settings after these.
BASE = (
    "dataset=jsonl",
    f"dataset.train={DATA}",
    "dataset.cache_dir=cache",
    "template=question_only",
    "model.warm_start=null",
    "schedule.prompts_per_step=2",
    "rollout.max_new_tokens=48",
    "trainer.accelerator=cpu",
    "logger=none",
    "hydra.run.dir=run",
)


@dataclass(frozen=True, slots=True)
class Case:
    """``kind`` is what is malformed, ``name`` how. ``named``: words of which the message has to hold one."""

    kind: str
    name: str
    settings: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    named: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        return self.kind, self.settings, tuple(sorted(self.files.items()))


Generator = Callable[[random.Random], Case]


def distinct(generators: list[Generator], count: int, seed: int) -> Iterator[Case]:
    """``count`` different cases, drawn from the generators in turn. Raises ValueError if they run out."""
    rng = random.Random(seed)
    seen = set()
    failures = 0
    while len(seen) < count:
        case = generators[(len(seen) + failures) % len(generators)](rng)
        if case.key in seen:
            failures += 1
            if failures > 50 * count:
                raise ValueError(f"only {len(seen)} different inputs can be made; ask for fewer")
            continue
        seen.add(case.key)
        yield case
