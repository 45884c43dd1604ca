"""SIGKILL at named and at random points of real runs: what arrives is the run that nobody killed, in every bit."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from gainrl.models.tiny import TinyModel
from tests.faults.lives import TINY, Life
from tests.training.resumable import rollouts, same_run, table

pytestmark = pytest.mark.faults

STEPS = 10
SMALL = [
    "logger=none",
    "debug=fast",
    f"schedule.steps={STEPS}",
    "schedule.prompts_per_step=4",
    "schedule.steps_per_epoch=3",
    "algorithm.group_size=4",
    "rollout.max_new_tokens=8",
    "evaluation.every=4",
    "evaluation.limit=2",
    *TINY,
    "model.layers=1",
    "checkpoint.every_steps=1",
]
# Arm: its settings, and the named points of its deaths, one life after the other; calls are counted from 0 in each.
ARMS: dict[str, tuple[list[str], list[tuple[str, int]]]] = {
    "gain, grpo, refreshed": (
        ["baseline=gain_rl", "schedule.refresh_every_epochs=1"],
        [
            ("part of a signal", 0),
            ("after evaluation", 0),
            ("optimizer", 1),
            ("half a checkpoint", 0),
            ("refresh", 0),
            ("part of a signal", 0),
            ("after refresh", 0),
            ("end of an epoch", 1),
        ],
    ),
    "uniform, dapo, refill": (
        ["baseline=dapo", "curriculum=uniform"],
        [("rollout", 3), ("reward", 2), ("token", 12), ("table", 1), ("rollout records", 1), ("checkpoint", 1)],
    ),
    "adarft, two inner epochs": (
        ["baseline=adarft", "algorithm.inner_epochs=2", "algorithm.minibatch_prompts=2"],
        [("forward", 2), ("after optimizer", 2), ("backward", 3), ("draft of a checkpoint", 3), ("row", 2)],
    ),
    "sec, dr_grpo": (
        ["baseline=sec", "algorithm=dr_grpo"],
        [("after reward", 1), ("after a checkpoint", 2), ("half a checkpoint", 2), ("evaluation", 1), ("export", 0)],
    ),
    "mopps, gspo in two mini-batches": (
        ["baseline=mopps", "algorithm=gspo", "algorithm.minibatch_prompts=2"],
        [("optimizer", 3), ("table", 2), ("after evaluation", 0), ("draft of a checkpoint", 5), ("after export", 0)],
    ),
    "gain, moving reference, mixed groups": (
        ["baseline=gain_rl", "admission=mixed", "algorithm.reference_sync={every:2,mixing:0.5}"],
        [("forward", 0), ("after optimizer", 1), ("rollout records", 2), ("end of an epoch", 0)],
    ),
    "uniform, ppo with a critic": (
        ["baseline=ppo", "curriculum=uniform"],
        [("forward", 2), ("after optimizer", 1), ("half a checkpoint", 1), ("row", 2)],
    ),
    "learnability, an adapter of low rank": (
        ["baseline=learnability", "model=hub", "model.source={folder}", "model.lora_rank=2"],
        [("token", 9), ("after optimizer", 2), ("half a checkpoint", 2), ("after evaluation", 0)],
    ),
    "prepo, reinforce_pp": (
        ["baseline=prepo", "algorithm=reinforce_pp"],
        [("reward", 3), ("backward", 1), ("half a checkpoint", 2), ("after a checkpoint", 1)],
    ),
}
RANDOM_KILLS = 3  # of each arm, in a directory of their own
killed: dict[str, int] = {}


def final_state(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / f"step-{STEPS:06d}.ckpt", weights_only=True)


def log(folder: Path) -> str:
    return Path(f"{folder}.log").read_text()


def record(folder: Path) -> dict:
    return json.loads((folder / "record.json").read_text())


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A model as a hub would hold it, for adapters: weights that are not made from the run's settings."""
    folder = tmp_path_factory.mktemp("model")
    policy = TinyModel(hidden_size=16, intermediate_size=32, layers=1, heads=2, max_length=256).load()
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("arm", ARMS)
def test_killed_and_resumed_is_the_same_run(tmp_path, model_folder, arm):
    overrides, points = ARMS[arm]
    small = [item for item in SMALL if "model=hub" not in overrides or not item.startswith(("model.", "debug="))]
    overrides = [*(item.format(folder=model_folder) if "{folder}" in item else item for item in overrides), *small]
    whole, named, chance = tmp_path / "whole", tmp_path / "named", tmp_path / "chance"
    begun = time.monotonic()
    assert Life(whole, overrides, tmp_path / "cache of whole").end() == 0, log(whole)
    duration = time.monotonic() - begun
    assert final_state(whole)["counters"]["updates"] >= STEPS // 2  # else equal weights would say little

    for point in points:
        assert Life(named, overrides, tmp_path / "cache of named", at=point).end() == -signal.SIGKILL, log(named)
    killed[arm] = len(points)
    draw = random.Random(arm)
    for _ in range(RANDOM_KILLS):
        code = Life(chance, overrides, tmp_path / "cache of chance").kill_after(duration * draw.uniform(0.1, 0.6))
        killed[arm] += code == -signal.SIGKILL

    for folder in (named, chance):
        assert Life(folder, overrides, tmp_path / f"cache of {folder.name}").end() == 0, log(folder)
        assert same_run(final_state(whole), final_state(folder)) == []
        assert table(folder) == table(whole)
        assert [int(row["step"]) for row in table(folder)] == list(range(STEPS + 1))
        assert rollouts(folder) == rollouts(whole)
        assert record(folder)["metrics"] == record(whole)["metrics"]
        weights = "policy/model.safetensors"
        assert (folder / weights).read_bytes() == (whole / weights).read_bytes()


def test_at_least_fifty_processes_were_killed():
    if set(killed) != set(ARMS):
        pytest.skip("only some arms ran")
    print(killed)
    assert sum(killed.values()) >= 50
