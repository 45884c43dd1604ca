"""A pool of worker processes that calls one function with a hard time limit per call.

A call that runs past its limit costs its worker, which is killed and replaced, and nothing else. Workers are fresh
interpreters (never forks of a process that holds torch and CUDA), are started on first use, and end with their parent
however it ends. Replies are JSON, so that a worker can hand its parent nothing but data.
"""

from __future__ import annotations

import json
import os
import pickle
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import Any, Literal

from gainrl.rewards.worker import START_LIMIT_SECONDS, Worker

START_ATTEMPTS = 3
MAX_AUTOMATIC_WORKERS = 16  # each takes some 100 MB, and judging 5,000 answers a second is enough for any step

Workers = int | Literal["auto"]

Status = Literal["done", "timeout", "exhausted", "raised", "died", "unjudged"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended. ``result`` is the function's value if done, else a text for people.

    ``died``: two workers in a row ended inside the call. ``unjudged``: the batch ran out of time before the call began.
    """

    status: Status
    result: Any = None


class WorkerPool:
    """Calls ``function`` (``"module:name"``; its result must be plain JSON) on many argument tuples.

    ``workers``: processes, or ``auto`` for `automatic_workers`. ``time_limit_seconds``: wall clock per call.
    ``batch_limit_seconds``: wall clock after which a batch begins no further call, so that `run` returns within the sum
    of both limits. ``memory_limit_megabytes``: what a worker may allocate beyond its imports. Raises ValueError for
    limits that are not positive numbers.
    """

    def __init__(
        self,
        *,
        function: str,
        workers: Workers,
        time_limit_seconds: float,
        batch_limit_seconds: float,
        memory_limit_megabytes: int,
    ) -> None:
        size = automatic_workers() if workers == "auto" else workers
        if not isinstance(size, int):
            raise ValueError(f"workers={workers!r} is not a number of processes. Give a number above 0, or auto.")
        limits = {
            "workers": size,
            "time_limit_seconds": time_limit_seconds,
            "batch_limit_seconds": batch_limit_seconds,
            "memory_limit_megabytes": memory_limit_megabytes,
        }
        for name, value in limits.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise ValueError(f"{name}={value} leaves nothing to judge with. Give a number above 0.")
        self._size = size
        self._time_limit = float(time_limit_seconds)
        self._batch_limit = float(batch_limit_seconds)
        self._settings = (function, self._time_limit, int(memory_limit_megabytes))
        self.replaced = 0
        self._failed_starts = 0
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _kill_all, self._workers)
        _POOLS.add(self)

    def run(self, calls: Sequence[tuple[Any, ...]]) -> list[Outcome]:
        """One outcome per call, in order. Safe from any thread; batches of several threads take turns.

        Raises RuntimeError if workers cannot be started at all.
        """
        if not calls:
            return []
        if not self._lock.acquire(timeout=self._batch_limit + START_LIMIT_SECONDS):
            return [Outcome("unjudged", "another batch held the workers")] * len(calls)
        try:
            return self._run([pickle.dumps(call) for call in calls])
        except BaseException:
            _kill_all(self._workers)  # an interrupt leaves answers in the pipes that belong to no call any more
            raise
        finally:
            self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has the same limits and no workers."""
        function, time_limit, memory_limit = self._settings
        copy = partial(
            WorkerPool,
            function=function,
            workers=self._size,
            time_limit_seconds=time_limit,
            batch_limit_seconds=self._batch_limit,
            memory_limit_megabytes=memory_limit,
        )
        return copy, ()

    def close(self) -> None:
        """Ends all workers; a later `run` starts new ones."""
        with self._lock:
            _kill_all(self._workers)

    def _run(self, messages: list[bytes]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        pending, died = deque(range(len(messages))), set[int]()
        self._start(min(self._size, len(messages)))
        batch_deadline = time.monotonic() + self._batch_limit
        while len(outcomes) < len(messages):
            if time.monotonic() > batch_deadline:
                outcomes |= {call: Outcome("unjudged", "the batch ran out of time") for call in pending}
                pending.clear()
            for worker in self._workers:
                if pending and worker.ready and worker.call is None:
                    self._begin(worker, pending, messages)
            active = [worker for worker in self._workers if worker.call is not None or not worker.ready]
            if len(outcomes) == len(messages):
                break
            until = min([worker.deadline for worker in active] + ([batch_deadline] if pending else []))
            readable = set(wait([worker.connection for worker in active], max(0.0, until - time.monotonic())))
            for worker in active:
                if worker.connection in readable:
                    self._receive(worker, outcomes, pending, died)
                elif time.monotonic() > worker.deadline:
                    if worker.call is not None:
                        outcomes[worker.call] = Outcome("timeout", f"more than {self._time_limit:g} s")
                    self._replace(worker)
        return [outcomes[call] for call in range(len(messages))]

    def _start(self, size: int) -> None:
        """Brings the pool to ``size`` workers and waits until one is ready, outside the time limit of any batch."""
        for worker in [worker for worker in self._workers if worker.process.poll() is not None]:
            self._workers.remove(worker)
            worker.kill()
        while len(self._workers) < size:
            self._workers.append(Worker(*self._settings))
        while not any(worker.ready for worker in self._workers):
            readable = wait([worker.connection for worker in self._workers], START_LIMIT_SECONDS)
            for worker in list(self._workers):
                if not readable or worker.connection in readable:
                    self._receive(worker, {}, deque(), set())

    def _begin(self, worker: Worker, pending: deque[int], messages: list[bytes]) -> None:
        call = pending.popleft()
        try:
            worker.begin(call, messages[call], time.monotonic() + self._time_limit)
        except OSError:
            pending.appendleft(call)
            worker.ready, worker.deadline = False, 0.0  # it died idle; the loop replaces it

    def _receive(self, worker: Worker, outcomes: dict[int, Outcome], pending: deque[int], died: set[int]) -> None:
        try:
            reply = json.loads(worker.connection.recv_bytes()) if worker.connection.poll() else None
        except (EOFError, OSError, ValueError):
            reply = None
        call = worker.call
        if reply is not None and not worker.ready and reply["status"] == "ready":
            worker.ready, self._failed_starts = True, 0
            return
        if reply is not None and call is not None:
            outcomes[call] = Outcome(reply["status"], reply["result"])
            worker.call = None
            return
        if call is None:
            self._failed_starts += 1
            if self._failed_starts >= START_ATTEMPTS:
                self._failed_starts = 0
                reason = reply["result"] if reply is not None else "it ended without a word"
                raise RuntimeError(f"A worker for {self._settings[0]} cannot be started: {reason}")
        elif time.monotonic() > worker.deadline:  # its own watchdog came first
            outcomes[call] = Outcome("timeout", f"more than {self._time_limit:g} s")
        elif call in died:
            outcomes[call] = Outcome("died", "two workers ended inside this call")
        else:
            died.add(call)
            pending.appendleft(call)
        self._replace(worker)

    def _replace(self, worker: Worker) -> None:
        """Starts the successor at once, even after the last call, so that the next batch does not wait for it."""
        self._workers.remove(worker)
        worker.kill()
        self.replaced += 1
        self._workers.append(Worker(*self._settings))

    def _forget_workers_of_the_parent(self) -> None:
        """In a forked child: the workers belong to the parent, and so may the lock."""
        for worker in self._workers:
            worker.connection.close()
        self._workers.clear()
        self._lock = threading.Lock()


def automatic_workers() -> int:
    """One worker per processor that this process may use, divided among the ranks of a machine, at most 16.

    The processors are those of the affinity mask (SLURM, taskset and containers set one), and no more than
    SLURM_CPUS_PER_TASK says. LOCAL_WORLD_SIZE is the number of ranks, as torchrun has it.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    of_task, ranks = (os.environ.get(name, "") for name in ("SLURM_CPUS_PER_TASK", "LOCAL_WORLD_SIZE"))
    if of_task.isdecimal() and int(of_task) > 0:
        allowed = min(allowed, int(of_task))
    if ranks.isdecimal() and int(ranks) > 0:
        allowed //= int(ranks)
    return max(1, min(allowed, MAX_AUTOMATIC_WORKERS))


def _kill_all(workers: list[Worker]) -> None:
    while workers:
        workers.pop().kill()


_POOLS: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pool in list(_POOLS):
        pool._forget_workers_of_the_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)
