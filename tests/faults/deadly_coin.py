"""The coin of `tests.faults.coin`, and a process that dies of it once: for jobs that no test can reach otherwise."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.faults.coin import score as fair

_calls = 0


def score(completion, problem) -> float:
    """Ends the process at the call whose number ``GAINRL_TEST_DEATH_CALL`` names, in the first that comes so far."""
    global _calls
    _calls += 1
    if _calls == int(os.environ.get("GAINRL_TEST_DEATH_CALL", "0")):
        try:
            Path(os.environ["GAINRL_TEST_DEATH_MARK"]).touch(exist_ok=False)
        except FileExistsError:
            return fair(completion, problem)
        os.kill(os.getpid(), signal.SIGKILL)
    return fair(completion, problem)
