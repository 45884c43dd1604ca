"""The pool of training prompts as curricula see it: row numbers, classes, and a history per prompt.

The framework owns and updates the pool: every curriculum reads the same history, and a checkpoint stores it once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gainrl.types import Counters, EpochFeedback, GroupOutcome, LiveSignal, SignalScores


@dataclass(slots=True)
class PromptHistory:
    """What each prompt has shown so far. All arrays are ``[N]``.

    ``visits`` counts rollout rounds, ``last_step`` is -1 before the first; ``last_pass_rate`` and ``first_pass_rate``
    are NaN before it; ``run_solved`` and ``run_failed`` count the most recent consecutive visits that were all correct
    or all wrong.
    """

    size: int
    visits: np.ndarray = field(init=False)
    last_step: np.ndarray = field(init=False)
    last_pass_rate: np.ndarray = field(init=False)
    first_pass_rate: np.ndarray = field(init=False)
    run_solved: np.ndarray = field(init=False)
    run_failed: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.visits = np.zeros(self.size, np.int32)
        self.last_step = np.full(self.size, -1, np.int32)
        self.last_pass_rate = np.full(self.size, np.nan, np.float32)
        self.first_pass_rate = np.full(self.size, np.nan, np.float32)
        self.run_solved = np.zeros(self.size, np.int32)
        self.run_failed = np.zeros(self.size, np.int32)

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        for group in groups:
            row, rate = group.row, group.pass_rate
            self.visits[row] += 1
            self.last_step[row] = group.step
            if np.isnan(rate):  # every judge of the group failed: seen, but nothing learnt of it
                continue
            if np.isnan(self.first_pass_rate[row]):
                self.first_pass_rate[row] = rate
            self.last_pass_rate[row] = rate
            self.run_solved[row] = self.run_solved[row] + 1 if rate == 1.0 else 0
            self.run_failed[row] = self.run_failed[row] + 1 if rate == 0.0 else 0

    def expected_rates(self, rows: np.ndarray, group_size: int) -> np.ndarray:
        """``[P]`` pass rates to expect of ``rows``: one correct and one wrong completion more than on the last visit.

        1/2 for prompts not seen yet. A visit counts as ``group_size`` completions.
        """
        last = self.last_pass_rate[rows].astype(np.float64)
        return np.where(np.isnan(last), 0.5, (group_size * last + 1) / (group_size + 2))

    def state_dict(self) -> dict[str, Any]:
        """Only the prompts that were visited, so that the state grows with the prompts seen and not with the pool."""
        rows = np.flatnonzero(self.visits)
        import torch  # only where a checkpoint is written: curricula are checked before torch is imported

        arrays = {name: torch.from_numpy(getattr(self, name)[rows].copy()) for name in _HISTORY_ARRAYS}
        return {"rows": torch.from_numpy(rows), **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.__post_init__()
        for name in _HISTORY_ARRAYS:
            getattr(self, name)[state["rows"].numpy()] = state[name].numpy()


_HISTORY_ARRAYS = ("visits", "last_step", "last_pass_rate", "first_pass_rate", "run_solved", "run_failed")


@dataclass(frozen=True, slots=True)
class StatesWanted:
    """Which hidden states of prompts a curriculum reads: ``layer`` and ``activation`` as of ``signal=angle``.

    ``live``: under the current policy whenever they are asked for, and not once, before training.
    """

    layer: int | float
    activation: str
    live: bool


def _no_column(name: str) -> np.ndarray | None:
    return None


@dataclass(slots=True)
class PromptPool:
    """``size`` prompts; ``levels`` (``[N]`` int, -1 unknown) and ``difficulties`` (``[N]`` float, NaN unknown) or None.

    ``prompts_per_step`` and ``steps_per_epoch`` say how the run consumes prompts and ``total_steps`` how long it is.
    ``counters`` are the run's own, so that ``step`` (rollout steps that are complete) is the run's step. ``measure``
    measures the run's signal on some rows under the current policy; None where the run cannot. ``column`` reads what
    few curricula need of the problems: ``[N]`` values of ``id`` or ``source``, None where there are none. ``states``
    gives ``[R, D]`` hidden states of some rows, for a curriculum with ``wanted_states``; None where the run cannot.
    """

    size: int
    prompts_per_step: int
    steps_per_epoch: int
    total_steps: int
    group_size: int
    levels: np.ndarray | None = None
    difficulties: np.ndarray | None = None
    measure: LiveSignal | None = None
    counters: Counters = field(default_factory=Counters)
    column: Callable[[str], np.ndarray | None] = _no_column
    states: Callable[[np.ndarray], np.ndarray] | None = None
    history: PromptHistory = field(init=False)

    def __post_init__(self) -> None:
        self.history = PromptHistory(self.size)

    @property
    def step(self) -> int:
        """Rollout steps that are complete."""
        return self.counters.step

    @property
    def prompts_per_epoch(self) -> int:
        return self.prompts_per_step * self.steps_per_epoch

    @property
    def progress(self) -> float:
        """Share of the run that is complete, in [0, 1]."""
        return min(self.step / self.total_steps, 1.0) if self.total_steps else 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.history.load_state_dict(state["history"])


class CurriculumDefaults:
    """A base for curricula: every method of `types.Curriculum` but ``start`` and ``propose``, doing nothing.

    Override the methods that you need.
    """

    def refresh(self, signal: SignalScores) -> None: ...

    def observe(self, groups: Sequence[GroupOutcome]) -> None: ...

    def after_update(self, concentrations: Mapping[int, float]) -> None: ...

    def end_epoch(self, feedback: EpochFeedback) -> None: ...

    def metrics(self) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
