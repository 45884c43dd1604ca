"""MoPPS: a Beta belief about each prompt's pass rate, and Thompson sampling towards a target (arXiv 2507.04632).

From ``factor * n`` random candidates, each given a draw ``p ~ Beta(a, b)``, the step takes those whose draw is nearest
to ``target`` (``topk``), or random ones among those whose draw lies within 0.2 of it (``threshold``; at the paper's
target of 0.5 that is its band from 0.3 to 0.7). A group with ``k`` of ``G`` correct then gives::

    a <- memory a + (1 - memory) + k        b <- memory b + (1 - memory) + G - k

With ``implicit`` above 0 it is BOTS (arXiv 2510.26374): the prompts that a step did not hold learn from those that it
held. The step shows where the policy stands between two other models, and ``q``, the pass rate at that place between
theirs (`curricula.anchors`), counts as ``implicit * G`` completions of every other prompt::

    a <- memory a + (1 - memory) + implicit G q        b <- memory b + (1 - memory) + implicit G (1 - q)

The equations of BOTS were read in its released code; its target of 0.5 is known at second hand. That code chooses by a
draw or by the belief's mean; here it is always the draw. Departure: at ``implicit=0`` the other prompts keep their
belief, as in MoPPS, and do not fade towards the prior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from gainrl.curricula.anchors import Capability, read_pass_rates
from gainrl.curricula.pickers import best, candidates
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_prompts, need_signal, one_of
from gainrl.functional.rounding import ceil_product
from gainrl.functional.streams import generator
from gainrl.types import GroupOutcome, ProblemSet, SignalScores

_BAND = 0.2  # the paper's threshold rule accepts draws within 0.5 +- 0.2; here the band follows the target


class MoPPSCurriculum(CurriculumDefaults):
    """Trains on prompts that are believed to be passed at a rate of ``target``; the prior is Beta(1, 1).

    ``factor=None`` makes the whole pool candidates. ``memory`` = 1 never forgets; below 1 the belief remembers about
    ``G / (1 - memory)`` completions.

    With ``implicit`` above 0, ``strong`` and ``weak`` are tables of gainrl-rank (``table=csv``) with the pass rates of
    a stronger and a weaker model; ``weak=None`` takes the run's own signal, which must then be the pass rate.
    ``capability_memory``: how much of the past the policy's place between the two keeps at a step.

    Raises ValueError for values out of range, and at `check` or `start` if the anchors cannot be had.
    """

    def __init__(
        self,
        *,
        factor: float | None = 16.0,
        target: float = 0.5,
        memory: float = 1.0,
        pick: Literal["topk", "threshold"] = "topk",
        implicit: float = 0.0,
        weak: str | None = None,
        strong: str | None = None,
        capability_memory: float = 0.9,
    ) -> None:
        if factor is not None:
            between("factor", factor, 1)
        between("target", target, 0, 1)
        between("memory", memory, 0, 1)
        one_of("pick", pick, ("topk", "threshold"))
        between("implicit", implicit, 0, 1)
        between("capability_memory", capability_memory, 0, 1, open_high=True)
        if not implicit and (weak or strong):
            raise ValueError(
                "curriculum.weak and curriculum.strong do nothing at curriculum.implicit=0: type "
                "curriculum.implicit=0.2, or leave them out"
            )
        self.factor, self.target, self.memory, self.pick = factor, target, memory, pick
        self.implicit, self.weak, self.strong, self.capability_memory = implicit, weak, strong, capability_memory

    def check(self, problems: ProblemSet) -> None:
        """Reads the anchors' tables, so that what they lack shows before a model is loaded."""
        self._rates(lambda: np.asarray(problems.column("id")))

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._pool, self._seed, self._draws = pool, seed, 0
        self._beliefs = np.ones((2, pool.size))
        self._error, self._judged = 0.0, 0
        self._capability: Capability | None = None
        self._pending: list[tuple[int, int, int]] = []  # row, correct and wrong completions of the groups of a step
        if self.implicit:
            weak, strong = self._rates(lambda: np.asarray(pool.column("id")))
            if weak is None:
                weak = self._own(signal, pool)
            assert strong is not None
            self._capability = Capability(weak, strong, self.capability_memory)

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        if not len(exclude):
            self._close_step()
        stream = generator(self._seed, "selection", "mopps", self._draws)
        self._draws += 1
        wanted = self._pool.size if self.factor is None else ceil_product(self.factor, n)
        rows = candidates(self._pool.size, wanted, exclude, stream)
        distance = np.abs(stream.beta(*self._beliefs[:, rows]) - self.target)
        if self.pick == "threshold":
            distance = np.maximum(distance, _BAND)  # within the band all are equal and the random order decides
        return best(rows, -distance, n)

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        self._error, self._judged = 0.0, 0
        for group in groups:
            verdicts = group.correct[group.valid]
            if len(verdicts):
                belief = self._beliefs[:, group.row]
                self._error += (belief[0] / belief.sum() - group.pass_rate) ** 2
                self._judged += 1
                correct = int(verdicts.sum())
                self._pending.append((group.row, correct, len(verdicts) - correct))
        if self._capability is None:
            self._close_step()

    def metrics(self) -> dict[str, float]:
        """``prediction_error``: mean squared error of the beliefs about the last round's pass rates.

        ``capability``: the policy's place between the anchors, 0 the weak one's and 1 the strong one's; 0 before the
        first step.
        """
        found = {"prediction_error": self._error / max(self._judged, 1)}
        if self._capability is not None:
            found["capability"] = 0.0 if math.isnan(self._capability.value) else self._capability.value
        return found

    def state_dict(self) -> dict[str, Any]:
        rows = np.flatnonzero((self._beliefs != 1).any(0))
        import torch  # only where a checkpoint is written

        return {
            "draws": self._draws,
            "rows": torch.from_numpy(rows),
            "beliefs": torch.from_numpy(self._beliefs[:, rows]),
            "error": float(self._error),
            "judged": self._judged,
            "pending": [list(one) for one in self._pending],
            "capability": None if self._capability is None else self._capability.value,
            # The run's own signal is measured again at every refresh, and a resumed run is started with the last one.
            "weak": None if self._capability is None else torch.from_numpy(np.array(self._capability.weak_N)),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws, self._error, self._judged = int(state["draws"]), float(state["error"]), int(state["judged"])
        self._beliefs = np.ones((2, self._pool.size))
        self._beliefs[:, state["rows"].numpy()] = state["beliefs"].numpy()
        self._pending = [(int(row), int(correct), int(wrong)) for row, correct, wrong in state["pending"]]
        if self._capability is not None:
            self._capability.value = float(state["capability"])
            self._capability.weak_N = state["weak"].numpy()

    def _close_step(self) -> None:
        """What the groups so far say: of their own prompts, and with anchors of all others."""
        if not self._pending:
            return
        rows = np.array([row for row, *_ in self._pending])
        outcomes = np.array([outcome for _, *outcome in self._pending], np.float64).T
        self._pending = []
        if self._capability is None:
            for row, outcome in zip(rows, outcomes.T, strict=True):
                self._beliefs[:, row] = self.memory * self._beliefs[:, row] + (1 - self.memory) + outcome
            return
        self._capability.learn(rows, outcomes[0] / outcomes.sum(0))
        predicted = np.nan_to_num(self._capability.predictions())
        known = ~np.isnan(self._capability.predictions())
        evidence = self.implicit * self._pool.group_size * known * np.stack([predicted, 1 - predicted])
        evidence[:, rows] = outcomes
        self._beliefs = self.memory * self._beliefs + (1 - self.memory) + evidence

    def _rates(self, ids: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Pass rates in the tables of the weak and the strong model, None where there is no table."""
        if not self.implicit:
            return None, None
        if self.strong is None:
            raise ValueError(
                f"curriculum.implicit={self.implicit} places the policy between a weak and a strong model, and "
                "curriculum.strong names none: measure one with gainrl-rank signal=pass_rate table=csv model=... and "
                "type curriculum.strong=<its directory>/signals.csv, or curriculum.implicit=0"
            )
        files = {"curriculum.weak": self.weak, "curriculum.strong": self.strong}
        found = ids()
        weak, strong = (None if file is None else read_pass_rates(name, file, found) for name, file in files.items())
        return weak, strong

    def _own(self, signal: SignalScores | None, pool: PromptPool) -> np.ndarray:
        advice = "signal=pass_rate, or curriculum.weak=<a table of gainrl-rank signal=pass_rate>"
        signal = need_signal("mopps", signal, pool, advice)
        if signal.name != "pass_rate":
            raise ValueError(
                f"curriculum.implicit={self.implicit} needs the pass rates of a weak model and the run's signal is "
                f"{signal.name}: type {advice}"
            )
        return signal.values
