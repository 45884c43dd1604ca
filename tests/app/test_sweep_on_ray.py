"""A sweep whose jobs run on a Ray cluster, here one of this machine's processors."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'gainrl[ray]'")
pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="pip install 'gainrl[ray]'")

from tests.composition import SMALL

# Workers of the test need no token of the user's, no dashboard, and the processor as much as anybody else.
RAY = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


def test_jobs_of_a_sweep_run_on_ray_and_the_table_has_all_of_them(tmp_path):
    command = [sys.executable, "-m", "gainrl.app.train", "-m", *SMALL, "logger=none", "seed=0,1", "hydra/launcher=ray"]
    command += ["hydra.launcher.ray.init.num_cpus=2", "hydra.launcher.ray.init.include_dashboard=false"]
    command += ["hydra.launcher.ray.remote.max_calls=1", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    environment = os.environ | RAY | {"GAINRL_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    records = [json.loads(path.read_text()) for path in (tmp_path / "sweep").glob("*/s*/record.json")]
    assert [record["status"] for record in records] == ["finished"] * 2
    assert "2 finished" in done.stdout
