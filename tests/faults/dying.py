"""A judge whose worker dies of some completions, as one does that the system ends for want of memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gainrl.rewards.workers import Outcome, WorkerPool
from gainrl.types import Judgement, Problem, Verdict


class DyingJudge:
    """A coin for each completion, thrown in a worker; one in ``one_in`` completions is deadly (0: none)."""

    def __init__(self, *, one_in: int, **limits: Any) -> None:
        self.one_in = one_in
        self._pool = WorkerPool(function="tests.faults.dying_worker:judge", **limits)

    def score(self, completions: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        calls = [(problem.id, text, self.one_in) for text, problem in zip(completions, problems, strict=True)]
        return [_verdict(outcome) for outcome in self._pool.run(calls)]

    def close(self) -> None:
        self._pool.close()


def _verdict(outcome: Outcome) -> Verdict:
    if outcome.status != "done":
        return Verdict(Judgement.ERROR, 0.0, detail=f"{outcome.status}: {outcome.result}")
    return Verdict(Judgement.CORRECT if outcome.result else Judgement.WRONG, outcome.result)
