"""A judge whose worker dies, as one does that the system ends for want of memory, on one completion in eight."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Sequence

from gainrl.rewards.workers import Outcome, WorkerPool
from gainrl.types import Judgement, Problem, Verdict


def judge(name: str, completion: str) -> float:
    digest = hashlib.blake2b(f"{name} {completion}".encode(), digest_size=2).digest()
    if digest[1] % 8 == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return float(digest[0] % 2)


class DyingJudge:
    def __init__(self) -> None:
        self._pool = WorkerPool(
            function="tests.faults.dying:judge",
            workers=1,
            time_limit_seconds=20.0,
            batch_limit_seconds=120.0,
            memory_limit_megabytes=1024,
        )

    def score(self, completions: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        calls = [(problem.id, text) for text, problem in zip(completions, problems, strict=True)]
        return [_verdict(outcome) for outcome in self._pool.run(calls)]

    def close(self) -> None:
        self._pool.close()


def _verdict(outcome: Outcome) -> Verdict:
    if outcome.status != "done":
        return Verdict(Judgement.ERROR, 0.0, detail=f"{outcome.status}: {outcome.result}")
    return Verdict(Judgement.CORRECT if outcome.result else Judgement.WRONG, outcome.result)
