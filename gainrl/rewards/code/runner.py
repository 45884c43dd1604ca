"""Runs programs against test suites on a few sandbox servers at once."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from gainrl.rewards.code.inside.confine import Limits
from gainrl.rewards.code.isolation import command_of, describe, layers_of
from gainrl.rewards.code.outcomes import CodeOutcome, CodeResult
from gainrl.rewards.code.outputs import accepted
from gainrl.rewards.code.suites import AssertSuite, StdioSuite, TestSuite
from gainrl.rewards.code.worker import Worker

ATTEMPTS = 2  # a server that failed is replaced, and the program gets one more run


class SandboxRunner:
    """A pool of ``workers`` threads, each with a server of its own; safe to use from several threads.

    ``isolation`` names one mechanism (`isolation.layers_of`). Raises SandboxUnavailable if it cannot be had.
    """

    def __init__(
        self, *, isolation: str, workers: int | None, limits: Limits, import_paths: Sequence[str] = ()
    ) -> None:
        self.limits = limits
        self.layers = layers_of(isolation, import_paths)
        command = lambda: command_of(self.layers, import_paths)  # noqa: E731
        self._local = threading.local()
        self._workers: list[Worker] = []
        count = workers or max(1, len(os.sched_getaffinity(0)))
        self._threads = ThreadPoolExecutor(
            count, "sandbox", initializer=give_worker, initargs=(self._local, self._workers, command)
        )
        self.close = weakref.finalize(self, shut_down, self._threads, self._workers)
        self.stamp: dict[str, Any] = describe(isolation, self.layers, self._threads.submit(self._warm_up).result())

    def _warm_up(self) -> str:
        self._local.worker.start()
        return self._local.worker.python

    def submit(self, program: str, suite: TestSuite, limits: Limits | None = None) -> Future[CodeResult]:
        """The outcome of ``program`` in its suite, to come; its tests stop at the first that fails. Never raises."""
        return self._threads.submit(self._run, program, suite, limits or self.limits)

    def run(self, program: str, suite: TestSuite, limits: Limits | None = None) -> CodeResult:
        return self.submit(program, suite, limits).result()

    def printed(self, program: str, stdin: str = "", limits: Limits | None = None) -> dict[str, Any]:
        """The server's own account of one run of a script: outcome, stdout, detail."""
        return self._threads.submit(
            lambda: self._local.worker.run_script(program, stdin, limits or self.limits)
        ).result()

    def _run(self, program: str, suite: TestSuite, limits: Limits) -> CodeResult:
        run = run_asserts if isinstance(suite, AssertSuite) else run_stdio
        failure = ""
        for _ in range(ATTEMPTS):
            try:
                return run(self._local.worker, program, suite, limits)  # type: ignore[arg-type]
            except Exception as error:  # the sandbox's fault, whatever it is: must not look like the program's
                failure = f"{type(error).__name__}: {error}"
        return CodeResult(CodeOutcome.SANDBOX_ERROR, failure)


def give_worker(local: threading.local, workers: list[Worker], command: Callable[[], list[str]]) -> None:
    local.worker = Worker(command)
    workers.append(local.worker)


def shut_down(threads: ThreadPoolExecutor, workers: list[Worker]) -> None:
    threads.shutdown(wait=True, cancel_futures=True)
    for worker in workers:
        worker.close()


def run_asserts(worker: Worker, program: str, suite: AssertSuite, limits: Limits) -> CodeResult:
    if suite.imports and "__future__" not in program:  # which has to come first
        program = f"{suite.imports}\n{program}"
    answer = worker.run_tests(program, suite.tests, suite.prelude, suite.entry_point, limits)
    return CodeResult(CodeOutcome(answer["outcome"]), answer["detail"])


def run_stdio(worker: Worker, program: str, suite: StdioSuite, limits: Limits) -> CodeResult:
    """One run per input; what it has to print is compared here and never enters the sandbox."""
    for number, (stdin, expected) in enumerate(zip(suite.inputs, suite.outputs, strict=True)):
        answer = worker.run_script(program, stdin, limits)
        if answer["outcome"] != "finished":
            return CodeResult(CodeOutcome(answer["outcome"]), f"{answer['detail']} (test {number})".strip())
        outputs = (expected, *(suite.alternatives[number] if suite.alternatives else ()))
        if not accepted(answer["stdout"], outputs, suite.tolerance):
            return CodeResult(CodeOutcome.WRONG, f"test {number}")
    return CodeResult(CodeOutcome.PASS)
