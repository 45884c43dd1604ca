"""A bandit over the sources of a pool: which data set the next prompts come from, by what they teach.

Each source has a value, and slots are drawn from ``softmax(value / temperature)``; with ``over=level`` levels take the
place of sources. Three rules for the value of a source:

- ``sec`` (arXiv 2505.14970): the size of the advantages it gave lately;
- ``dump`` (arXiv 2504.09710): their upper confidence bound over the last ``window`` completions;
- ``tscl`` (arXiv 1707.00183): how fast its pass rate changes, so that learning and forgetting both earn visits.

The rules are those of `functional.bandits`, which ``curriculum=sec`` and ``curriculum=dump`` apply to levels.

Our choices where the papers have several: TSCL draws from a softmax (the paper also tries epsilon-greedy), and a source
that a step did not hold keeps its value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from gainrl.curricula.pickers import ClassWalk
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_levels, need_prompts, need_sources, one_of
from gainrl.curricula.scorers import softmax
from gainrl.curricula.step_means import StepMeans
from gainrl.functional.bandits import (
    dump_bounds,
    mean_absolute_advantage,
    recent_advantages,
    sec_values,
    tscl_values,
)
from gainrl.functional.streams import generator
from gainrl.types import GroupOutcome, ProblemSet, SignalScores


class BanditCurriculum(CurriculumDefaults):
    """Draws a source for each slot by its value under ``rule``, then the next prompt of that source.

    ``alpha`` is the step of ``sec`` and ``tscl``, ``window`` the completions that ``dump`` looks back on. ``uniform``
    is the share of the probability that all sources get alike. Raises ValueError for values out of range, and at
    `check` or `start` if the pool has fewer than two sources.
    """

    def __init__(
        self,
        *,
        rule: Literal["sec", "dump", "tscl"] = "sec",
        over: Literal["source", "level"] = "source",
        alpha: float = 0.5,
        window: int = 300,
        temperature: float = 0.4,
        uniform: float = 0.0,
    ) -> None:
        one_of("rule", rule, ("sec", "dump", "tscl"))
        one_of("over", over, ("source", "level"))
        between("alpha", alpha, 0, 1, open_low=True)
        between("window", window, 1)
        between("temperature", temperature, 0, open_low=True)
        between("uniform", uniform, 0, 1)
        self.rule, self.over, self.alpha, self.window = rule, over, alpha, window
        self.temperature, self.uniform = temperature, uniform

    def check(self, problems: ProblemSet) -> None:
        if self.over == "source":
            need_sources("bandit", problems.column("source"))

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool, self._seed, self._draws = pool, seed, 0
        if self.over == "source":
            self._names, self._sources = need_sources("bandit", pool.column("source"))
        else:
            self._sources = need_levels("bandit", pool)
            self._names = [str(number) for number in range(int(self._sources.max()) + 1)]
        self._walk = ClassWalk("bandit", self._sources, seed)
        count = len(self._names)
        self._values, self._last = np.zeros(count), np.full(count, np.nan)
        self._seen = StepMeans(count)
        self._recent: list[list[float]] = [[] for _ in range(count)]
        self._counts = np.zeros(count, np.int64)

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        if not len(exclude):
            self._close_step()
        stream = generator(self._seed, "selection", "bandit", self._draws)
        self._draws += 1
        return self._walk.draw(self._chances(), n, exclude, stream)

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        for group in groups:
            source, verdicts = int(self._sources[group.row]), group.correct[group.valid]
            if not len(verdicts):
                continue
            if self.rule == "dump":
                self._recent[source] = recent_advantages(self._recent[source], verdicts, self.window)
                self._counts[source] += len(verdicts)
            else:
                rate = group.pass_rate
                self._seen.add(source, rate if self.rule == "tscl" else float(mean_absolute_advantage(np.array(rate))))

    def metrics(self) -> dict[str, float]:
        """``value/source_name`` and ``probability/source_name`` of each source, or ``level_k`` of each level."""
        columns = {"value": self._scores(), "probability": self._chances()}
        return {
            f"{column}/{self.over}_{name}": float(value)
            for column, values in columns.items()
            for name, value in zip(self._names, values, strict=True)
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "draws": self._draws,
            "taken": list(self._walk.taken),
            "values": self._values.tolist(),
            "last": self._last.tolist(),
            "seen": self._seen.state_dict(),
            "recent": [list(values) for values in self._recent],
            "counts": self._counts.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws, self._walk.taken = int(state["draws"]), list(state["taken"])
        self._values, self._last = np.array(state["values"], float), np.array(state["last"], float)
        self._seen.load_state_dict(state["seen"])
        self._recent = [list(values) for values in state["recent"]]
        self._counts = np.array(state["counts"], np.int64)

    def _scores(self) -> np.ndarray:
        if self.rule == "dump":
            return dump_bounds(self._recent, self._counts)
        return np.abs(self._values) if self.rule == "tscl" else self._values

    def _chances(self) -> np.ndarray:
        return (1 - self.uniform) * softmax(self._scores(), self.temperature) + self.uniform / len(self._names)

    def _close_step(self) -> None:
        """One update of the values from all groups of a step, refills included."""
        found = self._seen.take()
        if self.rule == "tscl":
            self._values, self._last = tscl_values(self._values, found, self._last, self.alpha)
        else:
            self._values = sec_values(self._values, found, self.alpha)
