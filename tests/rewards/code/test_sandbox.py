"""Containment and outcomes under every isolation that this machine has."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.soak import descendants
from gainrl.rewards.code import probes, selftest
from gainrl.rewards.code.inside.confine import Limits
from gainrl.rewards.code.isolation import SandboxUnavailable
from gainrl.rewards.code.outcomes import CodeOutcome
from gainrl.rewards.code.reward import contained_runner
from gainrl.rewards.code.runner import SandboxRunner
from gainrl.rewards.code.suites import AssertSuite, StdioSuite
from tests.rewards.code.conftest import LIMITS

ROOT = Path(__file__).parents[3]
HARMLESS_WHEN_OPEN = ("read a host file", "network", "signals")  # the others would leave traces on this machine
BRIEF = replace(LIMITS, wall_seconds=0.5)


@pytest.mark.parametrize("name", probes.SCRIPTS)
def test_a_script_cannot(runner, monkeypatch, name):
    monkeypatch.setattr(selftest, "SCRIPTS", {name: probes.SCRIPTS[name]})
    assert list(selftest.leaking_scripts(runner)) == []


@pytest.mark.parametrize("name", probes.CHEATS)
def test_a_cheat_does_not_pass(runner, monkeypatch, name):
    monkeypatch.setattr(selftest, "CHEATS", {name: probes.CHEATS[name]})
    assert list(selftest.passing_cheats(runner)) == []


@pytest.mark.parametrize("name", probes.DESTROYERS)
def test_a_destroyer_is_stopped_and_named(runner, monkeypatch, name):
    monkeypatch.setattr(selftest, "DESTROYERS", {name: probes.DESTROYERS[name]})
    assert list(selftest.mishandled_destroyers(runner)) == []


@pytest.mark.parametrize("name", HARMLESS_WHEN_OPEN)
def test_probes_notice_an_open_door(open_runner, monkeypatch, name):
    monkeypatch.setattr(selftest, "SCRIPTS", {name: probes.SCRIPTS[name]})
    (leak,) = selftest.leaking_scripts(open_runner)
    assert "ESCAPED" in leak


@pytest.mark.parametrize("name", ["read the expected output", "equal to everything"])
def test_cheats_pass_where_program_and_tests_share_a_process(open_runner, name):
    canary = selftest.new_canary()
    cheat = selftest.fill(probes.CHEATS[name], {"CANARY_SHAPE": "canary" + "f" * 16})
    tests = selftest.fill(probes.HELD_OUT_TEST, {"CANARY": canary}).splitlines()[0]
    answer = open_runner.printed(f"expected = '{canary}'\n{cheat}\n{tests}\nprint('passed')")
    assert answer["stdout"] == "passed\n"


def test_training_does_not_start_on_a_leak(open_runner, monkeypatch):
    monkeypatch.setattr(selftest, "SCRIPTS", {"signals": probes.SCRIPTS["signals"]})
    with pytest.raises(SandboxUnavailable, match=r"does not contain .*\n.*signals: ESCAPED: may signal"):
        selftest.require_containment(open_runner)


SQUARE = "def square(x):\n    return x * x\n"


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (SQUARE, "pass"),
        ("square = lambda x: -x * x", "wrong: AssertionError (line 1 of the tests)"),
        ("square = lambda x: x", "wrong: AssertionError (line 2 of the tests)"),
        ("def square(x): return x * y", "runtime_error: NameError: name 'y' is not defined"),
        ("def square(x) return", "runtime_error: SyntaxError: expected ':' (program.py, line 1)"),
        ("import sys\nsys.exit()", "runtime_error: SystemExit"),
        ("import os\ndef square(x): os._exit(0)", "runtime_error: ended before its tests did"),
        ("import os\nos.closerange(0, 64)\n" + SQUARE, "runtime_error"),
        ("def square(x): return square(x)", "runtime_error: RecursionError: maximum recursion depth exceeded"),
        ("import ctypes\ndef square(x): ctypes.string_at(1)", "runtime_error: killed by SIGSEGV"),
        ("def square(x): return [0] * 10**9", "memory"),
        ("def square(x): return 'x' * 10**7", "output_limit: returned more than the output limit"),
        ("def square(x):\n    while True: print('x' * 999)", "output_limit"),
        ("import non_existent_package", "runtime_error: ModuleNotFoundError: No module named 'non_existent_package'"),
    ],
)
def test_assertions_end_as(runner, program, expected):
    suite = AssertSuite("assert square(1) == 1\nassert square(3) == 9\n", entry_point="square")
    assert str(runner.run(program, suite)).startswith(expected)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("print(int(input()) + 1)", "pass"),
        ("import sys\nfor line in sys.stdin: sys.stdout.write(str(int(line) + 1))", "pass"),
        ("import os\nos.write(1, str(int(os.read(0, 99)) + 1).encode())", "pass"),
        ("import atexit\natexit.register(lambda: print(int(input()) + 1))", "pass"),
        ("import sys, threading\nthreading.stack_size(1 << 26)\n"
         "threading.Thread(target=lambda: print(int(input()) + 1)).start()", "pass"),
        ("if __name__ == '__main__':\n    print(int(input()) + 1)\n    exit()", "pass"),
        ("print(2)", "wrong: test 1"),
        ("input()", "wrong: test 0"),
        ("print(2)\nraise ValueError('no')", "runtime_error: ValueError: no (test 0)"),
        ("print(int(input()) + 1)\nexit(3)", "runtime_error"),
        ("input()\ninput()", "runtime_error: EOFError"),
        ("import os\nos.kill(os.getpid(), 11)\nimport ctypes\nctypes.string_at(1)", "runtime_error: killed by SIGSEGV"),
        ("x = [0]\nwhile True: x += x", "memory"),
    ],
)  # fmt: skip
def test_scripts_end_as(runner, program, expected):
    assert str(runner.run(program, StdioSuite(("1\n", "41\n"), ("2", "42")))).startswith(expected)


def test_time_is_up_for_waiting_and_for_computing_in_tests_too(runner):
    suite = AssertSuite("f()", entry_point="f")
    for body in ("import time; time.sleep(60)", "while True: pass"):
        assert runner.run(f"def f():\n    {body}", suite, BRIEF).outcome is CodeOutcome.TIMEOUT
    loop = AssertSuite("while True: pass", entry_point="f")
    assert runner.run("def f(): pass", loop, BRIEF).outcome is CodeOutcome.TIMEOUT


def test_cpu_time_is_limited_apart_from_the_clock(runner):
    limits = replace(LIMITS, cpu_seconds=1, wall_seconds=30)
    assert runner.printed("while True: pass", limits=limits)["outcome"] == "timeout"


def test_large_inputs_and_outputs_come_through(runner):
    limits = replace(LIMITS, output_kb=4096)
    numbers = "\n".join(map(str, range(200_000)))
    assert (
        runner.run("import sys\nprint(sys.stdin.read())", StdioSuite((numbers,), (numbers,)), limits).outcome == "pass"
    )


def test_a_run_repeats_exactly(runner):
    program = "import random\nprint(random.random(), list({'a', 'b', 'c', 'd'}))"
    first = runner.printed(program)["stdout"]
    assert first == runner.printed(program)["stdout"] != ""


def test_programs_see_no_packages_unless_given(tmp_path):
    (tmp_path / "answer.py").write_text("value = 42\n")
    os.chmod(tmp_path, 0o755)
    with_package = contained_runner_or_skip(import_paths=[str(tmp_path)])
    assert with_package.printed("import answer\nprint(answer.value)")["stdout"] == "42\n"
    with_package.close()


def contained_runner_or_skip(**options):
    try:
        return SandboxRunner(isolation="bubblewrap", workers=1, limits=LIMITS, **options)
    except SandboxUnavailable as reason:
        pytest.skip(str(reason))


def test_a_server_that_dies_is_replaced(runner):
    suite = StdioSuite(("",), ("1",))
    assert runner.run("print(1)", suite).outcome is CodeOutcome.PASS
    os.kill(runner._workers[0]._process.pid, signal.SIGKILL)
    runner._workers[0]._process.wait()
    assert runner.run("print(1)", suite).outcome is CodeOutcome.PASS


def test_a_sandbox_that_cannot_start_is_not_a_verdict_on_the_program(runner, monkeypatch):
    worker = runner._workers[0]
    monkeypatch.setattr(worker, "_command", lambda: [sys.executable, "-c", "raise SystemExit('no such luck')"])
    worker.close()
    result = runner.run("print(1)", StdioSuite(("",), ("1",)))
    assert result.outcome is CodeOutcome.SANDBOX_ERROR
    assert "no such luck" in result.detail


def test_an_answer_with_another_token_does_not_pass(runner, monkeypatch):
    worker = runner._workers[0]
    monkeypatch.setattr(worker, "_ask", lambda limits, data: {"outcome": "pass", "detail": "", "token": "0" * 32})
    assert runner.run("f = 1", AssertSuite("assert True")).outcome is CodeOutcome.SANDBOX_ERROR


def test_nothing_to_isolate_with_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr("gainrl.rewards.code.isolation.shutil.which", lambda name: None)
    monkeypatch.setattr("gainrl.rewards.code.isolation.landlock_version", lambda: 0)
    with pytest.raises(
        SandboxUnavailable, match=r"(?s)no program `bwrap`.*Landlock.*apt-get install bubblewrap.*unsafe"
    ):
        contained_runner("auto", 1, LIMITS, ())


PARENT = """
import sys
from gainrl.rewards.code.inside.confine import Limits
from gainrl.rewards.code.runner import SandboxRunner
from gainrl.rewards.code.suites import AssertSuite
runner = SandboxRunner(isolation=sys.argv[1], workers=2, limits=Limits(60, 60, 256, 64, 4))
sleeper = "import threading, time\\nthreading.Thread(target=time.sleep, args=(60,)).start()\\ntime.sleep(60)"
runs = [runner.submit(sleeper, AssertSuite("assert True")) for _ in range(2)]
print("started", flush=True)
sys.stdin.read()
"""


def test_no_process_outlives_a_killed_trainer(runner):
    isolation = runner.stamp["isolation"]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, isolation], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    parent.stdout.readline()
    wanted = 2 * (6 if isolation == "bubblewrap" else 4)  # bwrap and its init; server, supervisor, tests, program
    below = []
    while len(below) < wanted and parent.poll() is None:
        below = descendants(parent.pid)
    handles = []
    for pid in below:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            handles.append(os.pidfd_open(pid))
    parent.kill()
    parent.communicate()
    alive = set(handles)
    while alive:
        ended, _, _ = select.select(alive, [], [], 20)
        assert ended, f"{len(alive)} of {len(handles)} processes still run"
        alive -= set(ended)
    for handle in handles:
        os.close(handle)


def test_limits_are_checked_against_the_kernel(runner):
    program = "import resource as r\nprint([r.getrlimit(w) for w in (r.RLIMIT_AS, r.RLIMIT_CORE, r.RLIMIT_NOFILE)])"
    memory = LIMITS.memory_mb << 20
    assert runner.printed(program)["stdout"] == f"[({memory}, {memory}), (0, 0), (64, 64)]\n"
    assert Limits(1, 1, 1, 1, 1).open_files == 64
