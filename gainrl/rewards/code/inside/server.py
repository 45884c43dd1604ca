"""A warm Python that forks one supervisor per run; the supervisor forks the program and, for assertions, the tests.

    server      imports what programs use, never reads a request: descriptor 0 is only watched for bytes to come
    supervisor  one per run; reads the program, forks tests and program, keeps time and output, answers on 1
    tests       read the tests and the token themselves from descriptor 0; speak to the program over a socket pair
    program     forked from a supervisor that has seen neither tests nor token, so that its memory holds neither

A supervisor lives for one run: no text of a run reaches the memory of a later one.
"""

from __future__ import annotations

import bisect  # noqa: F401 - programs import these; here they are imported once
import collections  # noqa: F401
import copy  # noqa: F401
import datetime  # noqa: F401
import decimal  # noqa: F401
import fcntl
import fractions  # noqa: F401
import functools  # noqa: F401
import heapq  # noqa: F401
import itertools  # noqa: F401
import math  # noqa: F401
import os
import random  # noqa: F401
import re  # noqa: F401
import select
import signal
import site
import socket
import string  # noqa: F401
import sys
import typing  # noqa: F401
from typing import Any

from . import candidate, tester, wire
from .confine import SCRATCH, Layers, Limits, confine, die_with_parent, enter_private_namespaces
from .watch import PROGRAM_GONE, Watch

# Of its CPU limit, beyond which a killed program ran out of time: the kernel enforces the limit by counting ticks, and
# on a busy machine ticks say more than the exact time that it reports afterwards.
CPU_SHARE = 0.5
RETURNED_BYTES_FACTOR = 4  # encoded values are longer than their text


def main(config: dict[str, Any]) -> None:
    """Serves runs until descriptor 0 closes. ``config``: layers, and the user's number of busy tasks."""
    layers = Layers(**config["layers"])
    for name in ("setquit", "setcopyright", "sethelper"):
        getattr(site, name)()
    sys.path[:] = [*[path for path in sys.path if "site-packages" not in path], *config["import_paths"]]
    if not layers.namespaces:
        die_with_parent()
    wire.send(1, {"ready": True, "python": sys.version.split()[0]})
    requests = select.poll()
    requests.register(0, select.POLLIN)
    while True:
        ((_, event),) = requests.poll()
        if not event & select.POLLIN:
            return
        supervisor = os.fork()
        if supervisor == 0:
            try:
                supervise(layers, config["busy_tasks"])
            except EOFError:
                pass
            except BaseException as error:
                wire.send(1, {"outcome": "sandbox_error", "detail": f"{type(error).__name__}: {error}"})
            os._exit(0)
        os.waitpid(supervisor, 0)


def supervise(layers: Layers, busy_tasks: int) -> None:
    """One run, from request to answer."""
    if not layers.namespaces:
        die_with_parent()
    request = wire.receive(0, wire.BIG_INT)
    limits = Limits(**request["limits"])
    asserts = request["stdin"] is None
    tests_pid, answer, program_end = None, None, None
    if asserts:
        tests_end, program_end = (end.detach() for end in socket.socketpair())
        answer, answer_end = os.pipe()
        tests_pid = os.fork()
        if tests_pid == 0:
            os.close(program_end)  # or its own copy would keep the channel open after the program's end
            run_tests(limits, layers, busy_tasks, tests_end, answer_end)
        os.close(tests_end)
        os.close(answer_end)
        wire.read_exactly(answer, 1)  # the tests are read: the stream stands at the next run, whatever happens now
    if layers.namespaces:
        enter_private_namespaces(limits.disk_mb)
    standard_input = input_file(request["stdin"] or "")
    (output, output_end), (errors, errors_end), (ready, ready_end) = os.pipe(), os.pipe(), os.pipe()
    program_pid = os.fork()
    if program_pid == 0:
        ends = [standard_input, output_end, errors_end]
        run_program(request["program"], limits, layers, busy_tasks, ends, ready_end, program_end)
    for descriptor in (standard_input, output_end, errors_end, ready_end, program_end):
        if descriptor is not None:
            os.close(descriptor)
    result = Watch(program_pid, tests_pid, output, errors, limits).until_done()
    if not os.read(ready, 1):
        result["outcome"] = "sandbox_error"
    elif result["outcome"] is None and answer is not None:
        result = verdict_of_tests(answer, result, limits)
    elif result["outcome"] is None:
        result["outcome"] = "finished" if result["status"] == 0 else how_it_ended(result, limits)
    if asserts:
        del result["stdout"]
    wire.send(1, result)


def input_file(text: str) -> int:
    """A file in memory at its start: feeds a program of any reading habits without a writer to look after."""
    descriptor = os.memfd_create("stdin")
    data = memoryview(text.encode("utf-8", "surrogatepass"))
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def run_tests(limits: Limits, layers: Layers, busy_tasks: int, channel: int, answer: int) -> None:
    try:
        os.setsid()
        die_with_parent()
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        confine(limits, layers, busy_tasks)
        outcome = tester.run(0, channel, answer, limits.output_kb * 1024 * RETURNED_BYTES_FACTOR)
        os._exit(PROGRAM_GONE if outcome == "candidate_gone" else 0)
    finally:
        os._exit(1)


def run_program(
    program: str,
    limits: Limits,
    layers: Layers,
    busy_tasks: int,
    standard: list[int],
    ready: int,
    channel: int | None,
) -> None:
    try:
        os.setsid()
        die_with_parent()
        high = [fcntl.fcntl(number, fcntl.F_DUPFD, 10) for number in (*standard, ready, channel) if number is not None]
        for number, descriptor in enumerate(high):
            os.dup2(descriptor, number)
        os.closerange(len(high), 1 << 16)
        if layers.namespaces:
            os.chdir(SCRATCH)
        confine(limits, layers, busy_tasks)
        os.write(3, b"1")
        os.close(3)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    candidate.run(program, None if channel is None else 4)


def how_it_ended(result: dict[str, Any], limits: Limits) -> str:
    """Why a program came to an end that is not the one it should have come to."""
    status = result["status"]
    if result["stopped"]:
        result["detail"] = "broke off the exchange with the tests"
        return "runtime_error"
    if status == candidate.OUT_OF_MEMORY:
        return "memory"
    used_up = result["cpu_seconds"] >= CPU_SHARE * limits.cpu_seconds
    if status == -signal.SIGXCPU or (status == -signal.SIGKILL and used_up):
        return "timeout"
    if status <= 0:
        name = signal.Signals(-status).name if status else ""
        result["detail"] = f"killed by {name}" if name else "ended before its tests did"
    return "memory" if status == -signal.SIGKILL else "runtime_error"


def verdict_of_tests(answer: int, result: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """The tests' own answer; where they say that the program went away, why it did."""
    os.set_blocking(answer, False)
    try:
        verdict = wire.receive(answer, wire.BIG_INT)
    except (EOFError, BlockingIOError, ValueError):
        # They ran out of what they may use: counted against the program, whose values they were handling.
        return {**result, "outcome": "runtime_error", "detail": "the tests were stopped before they could answer"}
    if verdict["outcome"] == "candidate_gone":
        return {**result, "outcome": how_it_ended(result, limits)} | {"detail": result["detail"]}
    return {**result, **verdict}
