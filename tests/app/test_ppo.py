"""PPO runs through the same program as GRPO: same curricula, rewards and logging."""

import csv
import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console

from gainrl.app.train import run_job

CONF = Path(__file__).parents[2] / "conf"
SMALL = [
    "debug=fast",
    "logger=none",
    "schedule.steps=2",
    "schedule.prompts_per_step=4",
    "algorithm.group_size=2",
    "rollout.max_new_tokens=8",
    "model.warm_start.steps=2",
    "evaluation.samples=0",
    "evaluation.limit=1",
    "reward=math",
]


@pytest.mark.parametrize("baseline", ["ppo", "gain_rl_ppo"])
def test_a_baseline_with_ppo_trains(baseline, tmp_path, monkeypatch):
    monkeypatch.setenv("GAINRL_CACHE", str(tmp_path / "cache"))
    own = [
        f"run.output_dir={tmp_path}/run",
        "run.arm=test",
        "run.experiment=null",
        "run.sweep=null",
        "run.overrides=[]",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"baseline={baseline}", *SMALL, *own])
    run_job(config, Console(quiet=True))
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["formula"].startswith("loss = 1/N Σ_i Σ_t [ -min(ρ_t·A, clip(ρ_t, 0.8, 1.2)·A) ] + 0.1·L_V")
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    logged = {"value_loss", "value/explained_variance", "value/grad_norm", "kl", "ratio/max", "eval/accuracy"}
    assert logged <= {name for name, value in last.items() if value}
    assert ("curriculum/center" in last) is (baseline == "gain_rl_ppo")
    assert last["updates"] == "8"
