"""The process of a job, without a run in it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from gainrl.app.errors import EXIT_INTERRUPTED
from gainrl.app.job_process import ended_by, requeue, run_apart
from gainrl.training.upkeep.interruption import StopRequest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="jobs have processes of their own on Linux only")


def test_the_code_of_the_work_is_returned_and_nothing_else_comes_back():
    seen = []
    assert run_apart(lambda: seen.append(1) or 3) == (3, [])
    assert seen == []


def test_a_process_that_is_killed_is_reported_with_its_signal():
    code, _ = run_apart(lambda: os.kill(os.getpid(), signal.SIGKILL) or 0)
    assert code == -signal.SIGKILL
    assert ended_by(code) == "its process was ended by SIGKILL (out of memory?)"
    assert ended_by(-signal.SIGSEGV) == "its process was ended by SIGSEGV"


def test_an_exception_that_nobody_caught_is_a_failure(capfd):
    assert run_apart(lambda: 1 // 0)[0] == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_request_that_reaches_the_waiting_process_reaches_the_job(number):
    def work() -> int:
        stop = StopRequest(repeats=True)
        stop.install()
        stop.between_steps = True
        os.kill(os.getppid(), number)
        while stop.signal is None:
            time.sleep(0.01)  # a signal may arrive between a look and signal.pause
        return EXIT_INTERRUPTED if stop.signal == number.name else 1

    before = signal.getsignal(number)
    assert run_apart(work) == (EXIT_INTERRUPTED, [number])
    assert signal.getsignal(number) == before


def test_a_request_before_the_run_can_take_it_ends_the_job():
    def work() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    assert run_apart(work)[0] == EXIT_INTERRUPTED


def test_only_the_signal_of_preemption_goes_to_the_launcher():
    taken = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: taken.append(number))
    try:
        requeue([signal.SIGTERM])
        requeue([])
        assert taken == []
        requeue([signal.SIGTERM, signal.SIGUSR2])
        assert taken == [signal.SIGUSR2]
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        requeue([signal.SIGUSR2])  # no launcher waits for it
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_request_that_another_thread_takes_while_the_job_begins_reaches_it(monkeypatch):
    """A blocked signal is blocked in one thread only; before there is a job, it waits for it."""
    fork = os.fork
    idle = threading.Event()
    other = threading.Thread(target=idle.wait)  # takes what this thread has blocked
    other.start()

    def fork_after_a_request() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return fork()

    def work() -> int:
        time.sleep(60)
        return 0

    monkeypatch.setattr(os, "fork", fork_after_a_request)
    try:
        assert run_apart(work) == (EXIT_INTERRUPTED, [signal.SIGTERM])
    finally:
        idle.set()
        other.join()
