"""Every console command settles how waiting threads behave before torch starts any."""

import gc
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from gainrl.app.runtime import importing

ROOT = Path(__file__).parents[2]
COMMANDS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

# Stops at the first import of torch and says what the environment is by then.
PROBE = """
import os, sys
class AtTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("at torch", os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, AtTorch())
import {module}
print("without torch")
"""


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("exported", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(command, exported, expected):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if exported is not None:
        environment["OMP_WAIT_POLICY"] = exported
    probe = PROBE.format(module=COMMANDS[command].split(":")[0])
    done = subprocess.run(
        [sys.executable, "-c", probe], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in (f"at torch {expected}", "without torch")


def test_the_garbage_collector_rests_while_libraries_are_imported(monkeypatch):
    monkeypatch.setattr("gainrl.app.runtime.sys", SimpleNamespace(modules={}))  # as if torch were not imported yet
    try:
        with importing():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
    monkeypatch.setattr("gainrl.app.runtime.sys", SimpleNamespace(modules={"torch": None}))
    with importing():
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0
