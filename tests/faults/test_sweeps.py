"""Sweeps whose jobs die, whose launching process dies, and whose launcher sends a job back: with every launcher."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.faults.lives import ROOT, Life
from tests.faults.test_kills import SMALL, STEPS, final_state, log, record
from tests.faults.test_processes import said
from tests.training.resumable import same_run, table

pytestmark = pytest.mark.faults

RUN = ["baseline=vanilla_grpo", *SMALL]
DEADLY = [*(item for item in RUN if "reward.path" not in item), f"reward.path={ROOT}/tests/faults/deadly_coin.py:score"]
LAUNCHERS = {
    "basic": [],
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit": ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=60"],
}


def sweep_of(root: Path, *more: str, run: list[str] = RUN) -> list[str]:
    return ["-m", *run, f"hydra.sweep.dir={root}", "hydra.sweep.subdir=s${seed}", *more]


def states(root: Path) -> dict[str, str]:
    return {path.parent.name: record(path.parent)["status"] for path in sorted(root.glob("s*/record.json"))}


def closing_table(root: Path) -> dict[str, str]:
    """Line of each job in the last table that was printed."""
    lines = log(root).rpartition("jobs in ")[2].splitlines()
    found = [re.match(r"\W*(s\d)\W+(.*)", line) for line in lines]
    return {match[1]: match[2] for match in found if match}


def test_an_interrupted_sweep_skips_what_is_finished_and_goes_on_with_the_rest(tmp_path):
    root = tmp_path / "sweep"
    assert Life(root, sweep_of(root, "seed=0"), tmp_path / "cache").end() == 0, log(root)
    before = (root / "s0" / "record.json").read_bytes()
    killed = Life(root, sweep_of(root, "seed=0,1"), tmp_path / "cache", at=("after a checkpoint", 4))
    assert killed.end() == -signal.SIGKILL, log(root)
    assert states(root) == {"s0": "finished", "s1": "running"}
    assert Life(root, sweep_of(root, "seed=0,1"), tmp_path / "cache").end() == 0, log(root)
    assert (root / "s0" / "record.json").read_bytes() == before
    assert states(root) == {"s0": "finished", "s1": "finished"}
    assert record(root / "s1")["resumed_after"] == [5]
    assert [line.split()[0] for line in closing_table(root).values()] == ["skipped", "finished"]


def test_failed_jobs_of_a_repeated_sweep_are_taken_up_on_request(tmp_path):
    root = tmp_path / "sweep"
    # The system ends the process of a job, as it does for want of memory: the others go on, the table names it.
    life = Life(root, sweep_of(root, "seed=0,1"), tmp_path / "cache", at=("checkpoint", STEPS - 1), act="die alone")
    assert life.end() == 1, log(root)
    assert states(root) == {"s0": "failed", "s1": "failed"}  # each job has a process of its own, and each comes there
    assert "ended by SIGKILL (out of memory?)" in closing_table(root)["s0"]
    assert Life(root, sweep_of(root, "seed=0,1"), tmp_path / "cache").end() == 1
    assert said("failed before: its process was ended by SIGKILL", root)
    assert Life(root, sweep_of(root, "seed=0,1", "retry_failed=true"), tmp_path / "cache").end() == 0, log(root)
    assert states(root) == {"s0": "finished", "s1": "finished"}
    assert record(root / "s0")["resumed_after"] == [STEPS - 1]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_sweep_survives_the_death_of_a_job_and_then_of_its_launching_process(tmp_path, launcher):
    pytest.importorskip({"joblib": "hydra_plugins.hydra_joblib_launcher"}.get(launcher, "hydra"))
    pytest.importorskip({"submitit": "hydra_plugins.hydra_submitit_launcher"}.get(launcher, "hydra"))
    whole, root = tmp_path / "whole", tmp_path / "sweep"
    jobs = sweep_of(root, "seed=0,1", *LAUNCHERS[launcher], run=DEADLY)
    deadly = {"GAINRL_TEST_DEATH_CALL": "60", "GAINRL_TEST_DEATH_MARK": str(tmp_path / "mark")}
    assert Life(root, jobs, tmp_path / "cache", environment=deadly).end(900) == 1, log(root)
    assert sorted(states(root).values()) == ["failed", "finished"]
    (dead,) = (name for name, status in states(root).items() if status == "failed")
    assert "out of memory?" in closing_table(root)[dead]
    assert len(closing_table(root)) == 2

    # Once more, with failed jobs; this time everything dies in the middle.
    retry = [*jobs, "retry_failed=true"]
    life = Life(root, retry, tmp_path / "cache", environment=deadly)
    seen = len(table(root / dead))
    life.wait_for(root / dead / "metrics.csv", f"\n{seen},", timeout=900)
    life.kill_all()
    assert life.end() == -signal.SIGKILL
    assert states(root)[dead] == "running"

    assert Life(root, retry, tmp_path / "cache", environment=deadly).end(900) == 0, log(root)
    assert set(states(root).values()) == {"finished"}
    assert {name: line.split()[0] for name, line in closing_table(root).items()} == {
        name: "finished" if name == dead else "skipped" for name in ("s0", "s1")
    }
    seed = dead.removeprefix("s")
    assert Life(whole, [*DEADLY, f"seed={seed}"], tmp_path / "cache").end() == 0, log(whole)
    assert same_run(final_state(whole), final_state(root / dead)) == []
    assert table(root / dead) == table(whole)


def task_of(folder: Path, until: float) -> int:
    """The process in which submitit runs a job of ``folder``."""
    while time.monotonic() < until:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_text()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                above = Path(f"/proc/{parent}/cmdline").read_text()
            except OSError:
                continue
            if "submitit.core._submit" in line and str(folder) in line and "submitit.local._local" in above:
                return int(entry.name)
        time.sleep(0.05)
    raise AssertionError("submitit has no process")


def test_the_signal_of_preemption_saves_the_run_and_sends_the_job_back_to_its_launcher(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    whole, root = tmp_path / "whole", tmp_path / "sweep"
    assert Life(whole, RUN, tmp_path / "cache").end() == 0, log(whole)
    settings = [*RUN, "checkpoint.every_steps=null"]
    life = Life(root, sweep_of(root, "seed=0", *LAUNCHERS["submitit"], run=settings), tmp_path / "cache")
    life.wait_for(root / "s0" / "metrics.csv", "\n2,", timeout=900)
    os.kill(task_of(root, time.monotonic() + 60), signal.SIGUSR2)
    assert life.end(900) == 0, log(root)
    (after,) = record(root / "s0")["resumed_after"]
    assert 2 <= after < STEPS
    assert states(root) == {"s0": "finished"}
    assert same_run(final_state(whole), final_state(root / "s0")) == []
    assert table(root / "s0") == table(whole)


def test_a_request_to_stop_a_sweep_stops_its_job_between_steps(tmp_path):
    root = tmp_path / "sweep"
    life = Life(root, sweep_of(root, "seed=0,1", run=[*RUN, "checkpoint.every_steps=null"]), tmp_path / "cache")
    life.wait_for(root / "s0" / "metrics.csv", "\n1,")
    life.signal(signal.SIGTERM)
    assert life.end() == 75, log(root)
    assert states(root) == {"s0": "interrupted"}
    assert "SIGTERM after step" in closing_table(root)["s0"]
    assert Life(root, sweep_of(root, "seed=0,1"), tmp_path / "cache").end() == 0, log(root)
    assert states(root) == {"s0": "finished", "s1": "finished"}


def test_a_job_whose_sweep_is_killed_stops_by_itself(tmp_path):
    root = tmp_path / "sweep"
    life = Life(root, sweep_of(root, "seed=0", run=[*RUN, "algorithm.inner_epochs=20"]), tmp_path / "cache")
    life.wait_for(root / "s0" / "metrics.csv", "\n1,")
    life.signal(signal.SIGKILL)
    assert life.end() == -signal.SIGKILL
    life.wait_for_end_of(root / "s0" / ".lock")
    assert record(root / "s0")["status"] == "interrupted"
    assert "SIGUSR2 after step" in record(root / "s0")["fault"]
