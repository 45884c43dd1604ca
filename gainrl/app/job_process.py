"""Every job of a sweep in a process of its own, whichever launcher runs it.

If the system kills a job for lack of memory, the others go on, and no torch setting, W&B run or CUDA memory of one job
reaches the next. The process is a fork, so it starts with what the waiting process has imported. The waiting process
touches no GPU.

The waiting process passes requests to stop (SIGTERM, SIGINT, SIGUSR2) on to the job. If the waiting process is gone,
the job stops after its current step, as if it had been asked to.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from gainrl.app.errors import EXIT_INTERRUPTED

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
_PR_SET_PDEATHSIG = 1  # prctl(2)
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # CUDA, ROCm, CUDA under WSL


def can_fork() -> bool:
    """Forking is safe on Linux only, where no system framework has threads, and not in a worker of Ray, which has."""
    return sys.platform == "linux" and not _in_a_worker_of_ray()


def _in_a_worker_of_ray() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized() and ray.get_runtime_context().get_task_id() is not None


def may_import_ahead() -> bool:
    """Whether this process may import what its jobs need: not where that might reach a GPU, which no fork survives."""
    return not any(Path(device).exists() for device in _GPU_DEVICES)


def run_apart(work: Callable[[], int]) -> tuple[int, list[signal.Signals]]:
    """Runs ``work`` in a process of its own; returns its exit code and the requests to stop that it was sent.

    The code is negative for the signal that ended the process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    # Handlers first: where this process has other threads, a signal that is blocked here arrives all the same.
    with _Requests() as requests:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # for the child, until it can handle them
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # Python 3.12 warns of threads, which imports may leave behind
            child = os.fork()
        if child == 0:
            os._exit(_be_the_job(work, parent))
        requests.go_to(child)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), requests.seen


def requeue(requests: Sequence[signal.Signals]) -> None:
    """Gives SIGUSR2 to the launcher that installed a handler for it: submitit's sends the job back to Slurm and exits.

    Call it when the run has stopped and its checkpoint is written. Returns if no launcher waits for the signal.
    """
    handler = signal.getsignal(signal.SIGUSR2)
    if signal.SIGUSR2 in requests and callable(handler):
        handler(signal.SIGUSR2, None)


def ended_by(code: int) -> str:
    """A message about a process with a negative exit code."""
    name = signal.Signals(-code).name
    hint = " (out of memory?)" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}"


def _be_the_job(work: Callable[[], int], parent: int) -> int:
    code = 1
    try:
        for number in _SIGNALS:  # a launcher's handlers belong to its own process
            signal.signal(number, _stop_early)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGUSR2))
        if os.getppid() != parent:  # it had ended already
            return EXIT_INTERRUPTED
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _stop_early(number: int, frame: FrameType | None) -> None:
    raise SystemExit(EXIT_INTERRUPTED)


class _Requests:
    """Inside, the signals of this process are kept in ``seen`` and go to a child, those from before it too."""

    def __init__(self) -> None:
        self.seen: list[signal.Signals] = []
        self._early: list[int] = []
        self._child: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Requests:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in _SIGNALS}
        return self

    def __exit__(self, *fault: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def go_to(self, child: int) -> None:
        self._child = child
        for number in self._early:
            self._send(number)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.seen.append(signal.Signals(number))
        if self._child is None:
            self._early.append(number)
        else:
            self._send(number)

    def _send(self, number: int) -> None:
        assert self._child is not None
        with suppress(ProcessLookupError):
            os.kill(self._child, number)
