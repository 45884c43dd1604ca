"""One process at a time in a run directory."""

import json
import os
import socket
import subprocess
import sys

import pytest

from gainrl.app.errors import RunRefused
from gainrl.app.lock import run_lock
from tests.composition import ROOT

# It forks, as rewards fork their workers, and what it forked outlives it (and says so when it has let go of the lock).
HOLD = (
    "import os, sys\nfrom pathlib import Path\nfrom gainrl.app.lock import run_lock\n"
    "with run_lock(Path(sys.argv[1])):\n    os.fork() or print('held', flush=True)\n"
    "    sys.stdin.read()\n    os._exit(0)"
)


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock of ``tmp_path``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_running_owner_is_named_in_the_refusal(other, tmp_path):
    message = f"in use by process {other.pid} on {socket.gethostname()}.*hydra.run.dir="
    for _ in range(2):  # the first refusal leaves the owner its name
        with pytest.raises(RunRefused, match=message), run_lock(tmp_path):
            pass


def test_two_runs_of_one_process_do_not_share_a_directory(tmp_path):
    with run_lock(tmp_path), pytest.raises(RunRefused, match=f"in use by process {os.getpid()}"), run_lock(tmp_path):
        pass


def test_a_released_lock_can_be_taken_again(tmp_path):
    for _ in range(2):
        with run_lock(tmp_path):
            assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
        assert (tmp_path / ".lock").read_text() == ""


def test_the_lock_of_a_process_that_was_killed_is_free_whatever_it_forked(other, tmp_path):
    other.kill()
    other.wait()
    with run_lock(tmp_path):
        pass


def test_a_lock_without_a_readable_owner_is_refused_all_the_same(other, tmp_path):
    (tmp_path / ".lock").write_text("{")
    with pytest.raises(RunRefused, match="in use by another process"), run_lock(tmp_path):
        pass
