import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gainrl.rewards.workers import MAX_AUTOMATIC_WORKERS, Outcome, WorkerPool, automatic_workers

FOLDER = Path(__file__).parent


def make_pool(monkeypatch: pytest.MonkeyPatch, **settings: object) -> WorkerPool:
    monkeypatch.syspath_prepend(str(FOLDER))
    defaults = {"workers": 1, "time_limit_seconds": 20.0, "batch_limit_seconds": 60.0, "memory_limit_megabytes": 512}
    return WorkerPool(function="sample_calls:call", **(defaults | settings))  # type: ignore[arg-type]


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerPool]:
    pool = make_pool(monkeypatch)
    yield pool
    pool.close()


def test_outcomes_come_in_the_order_of_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool(monkeypatch, workers=2)
    assert [outcome.result for outcome in pool.run([("echo", k) for k in range(50)])] == list(range(50))
    pool.close()
    assert pool.run([("echo", "again")]) == [Outcome("done", "again")]
    pool.close()


@pytest.mark.parametrize(
    ("processors", "environment", "expected"),
    [
        (2, {}, 2),
        (1, {}, 1),
        (8, {"SLURM_CPUS_PER_TASK": "4"}, 4),
        (4, {"SLURM_CPUS_PER_TASK": "64"}, 4),
        (32, {"LOCAL_WORLD_SIZE": "8"}, 4),
        (64, {"SLURM_CPUS_PER_TASK": "16", "LOCAL_WORLD_SIZE": "4"}, 4),
        (2, {"LOCAL_WORLD_SIZE": "8"}, 1),
        (128, {"SLURM_CPUS_PER_TASK": "", "LOCAL_WORLD_SIZE": "many"}, MAX_AUTOMATIC_WORKERS),
    ],
)
def test_the_number_of_workers_follows_the_processors_of_the_task(
    monkeypatch: pytest.MonkeyPatch, processors: int, environment: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)), raising=False)
    for name in ("SLURM_CPUS_PER_TASK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert automatic_workers() == expected
    assert make_pool(monkeypatch, workers="auto")._size == expected


def test_an_invalid_number_of_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="or auto"):
        make_pool(monkeypatch, workers="many")


def test_workers_have_neither_torch_nor_secrets_nor_files(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    modules, environment, written = pool.run([("modules",), ("environment",), ("write", str(tmp_path / "file"))])
    assert "torch" not in modules.result
    assert "WANDB_API_KEY" not in environment.result
    assert written.status == "raised"


def test_memory_exceptions_and_lost_workers_end_in_an_outcome(pool: WorkerPool, tmp_path: Path) -> None:
    calls = [("take_memory",), ("fail",), ("leave",), ("leave_once", str(tmp_path / "marker")), ("echo", 1)]
    outcomes = pool.run(calls)
    assert [outcome.status for outcome in outcomes] == ["exhausted", "raised", "died", "done", "done"]
    assert outcomes[3].result == "second try"
    assert "KeyError" in outcomes[1].result


def test_a_call_past_its_limit_is_killed_and_the_rest_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool(monkeypatch, time_limit_seconds=2.0)
    outcomes = pool.run([("hold_the_interpreter", 60.0), ("echo", 1)])
    pool.close()
    assert [outcome.status for outcome in outcomes] == ["timeout", "done"]
    assert pool.replaced == 1


def test_a_batch_begins_no_call_after_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool(monkeypatch, time_limit_seconds=1.0, batch_limit_seconds=0.5)
    outcomes = pool.run([("hold_the_interpreter", 60.0)] * 20)
    pool.close()
    assert [outcome.status for outcome in outcomes] == ["timeout"] + ["unjudged"] * 19


def test_a_function_that_does_not_exist_is_reported_with_its_reason() -> None:
    pool = WorkerPool(
        function="gainrl.no_such_module:f",
        workers=1,
        time_limit_seconds=1.0,
        batch_limit_seconds=1.0,
        memory_limit_megabytes=64,
    )
    with pytest.raises(RuntimeError, match="no_such_module"):
        pool.run([(1,)])


@pytest.mark.parametrize("busy", [False, True])
def test_no_worker_outlives_a_parent_that_was_killed(busy: bool) -> None:
    script = f"""
import sys, threading
sys.path.insert(0, {str(FOLDER)!r})
from gainrl.rewards.workers import WorkerPool
pool = WorkerPool(function="sample_calls:call", workers=2, time_limit_seconds=2.0, batch_limit_seconds=60.0,
                  memory_limit_megabytes=512)
pool.run([("echo", 1)] * 4)
print(*[worker.process.pid for worker in pool._workers], flush=True)
if {busy}:
    pool.run([("hold_the_interpreter", 600.0)] * 2)
else:
    threading.Event().wait()
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=FOLDER.parents[1])
    assert parent.stdout is not None
    workers = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    end = time.monotonic() + 60.0
    for worker in workers:
        watch = select.poll()
        watch.register(worker, select.POLLIN)
        assert watch.poll(max(0.0, end - time.monotonic()) * 1000), "a worker is still running"
        os.close(worker)


def test_a_forked_child_starts_workers_of_its_own(pool: WorkerPool) -> None:
    pool.run([("echo", 1)])
    child = os.fork()
    if child == 0:
        answered = pool.run([("echo", 2)]) == [Outcome("done", 2)]
        pool.close()
        os._exit(0 if answered else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert pool.run([("echo", 3)]) == [Outcome("done", 3)]
    assert pool.replaced == 0
