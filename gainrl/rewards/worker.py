"""One worker process of a pool, seen from the process that asks it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection

START_LIMIT_SECONDS = 120.0


class Worker:
    """One process and the call it is busy with."""

    def __init__(self, function: str, time_limit_seconds: float, memory_limit_megabytes: int) -> None:
        ours, theirs = Pipe()
        arguments = (theirs.fileno(), function, time_limit_seconds, memory_limit_megabytes, os.getpid())
        # Neither secrets nor devices of the parent reach a process that evaluates what a model wrote.
        environment = {
            name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH") if name in os.environ
        }
        environment |= {
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from gainrl.rewards.worker_process import main; main(*{arguments!r})"],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt at the terminal is for the parent, which ends its workers itself
            env=environment,
        )
        theirs.close()
        self.connection: Connection = ours
        self.ready = False
        self.call: int | None = None
        self.deadline = time.monotonic() + START_LIMIT_SECONDS

    def begin(self, call: int, message: bytes, deadline: float) -> None:
        self.connection.send_bytes(message)
        self.call, self.deadline = call, deadline

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()
