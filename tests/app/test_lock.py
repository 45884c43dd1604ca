"""One process at a time in a run directory; owners that are gone are recognised."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from gainrl.app import lock
from gainrl.app.errors import RunRefused
from gainrl.app.lock import alive, owner, run_lock


def write(folder, **changes) -> None:
    (folder / ".lock").write_text(json.dumps(owner() | changes))


def test_a_running_owner_is_named_in_the_refusal(tmp_path):
    with (
        run_lock(tmp_path),
        pytest.raises(RunRefused, match=f"in use by process {os.getpid()} on .*hydra.run.dir="),
        run_lock(tmp_path),
    ):
        pass


def test_a_released_lock_can_be_taken_again(tmp_path):
    for _ in range(2):
        with run_lock(tmp_path):
            assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
        assert (tmp_path / ".lock").read_text() == ""


def test_the_lock_of_a_process_that_ended_is_taken_over(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    write(tmp_path, pid=process.pid)
    with run_lock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text()) == owner()


def test_another_process_with_the_same_number_is_not_taken_for_the_owner(tmp_path):
    write(tmp_path, began="1")
    with run_lock(tmp_path):
        pass


def test_an_owner_on_another_host_counts_as_alive_while_it_renews_the_lock(tmp_path):
    write(tmp_path, host="elsewhere")
    with pytest.raises(RunRefused, match="on elsewhere"), run_lock(tmp_path):
        pass
    past = (tmp_path / ".lock").stat().st_mtime - lock.STALE_SECONDS - 1
    os.utime(tmp_path / ".lock", (past, past))
    with run_lock(tmp_path):
        pass


def test_an_earlier_life_of_the_same_slurm_job_is_gone(monkeypatch):
    other = owner() | {"host": "elsewhere", "slurm_job": "17"}
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert not alive(other, age=0.0)
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    assert alive(other, age=0.0)


def test_a_torn_lock_is_no_owner(tmp_path):
    (tmp_path / ".lock").write_text('{"host": "a')
    with run_lock(tmp_path):
        pass


def test_somebody_elses_lock_is_not_released(tmp_path):
    with run_lock(tmp_path):
        write(tmp_path, host="elsewhere")
    assert json.loads((tmp_path / ".lock").read_text())["host"] == "elsewhere"
