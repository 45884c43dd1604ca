"""What a run depends on goes away in the middle of it: reward workers, W&B, room on the disk."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from gainrl.training.upkeep.checkpoints import read_checkpoint
from tests.faults.lives import ROOT, Life
from tests.faults.offline_runs import offline_runs
from tests.faults.test_kills import SMALL, STEPS, final_state, log, record
from tests.faults.test_processes import said
from tests.training.resumable import rollouts, same_run, table

pytestmark = pytest.mark.faults

RUN = ["baseline=vanilla_grpo", *SMALL]
TRACKED = [*(item for item in RUN if item != "logger=none"), "logger=wandb"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert Life(folder, RUN, folder.parent / "cache").end() == 0, log(folder)
    return folder


# ------------------------------------------------------------------------------------------------- rewards


def judged_by_workers(*settings: str, one_in: int) -> list[str]:
    command = [item for item in RUN if not item.startswith("reward")]
    return command + [
        f"--config-dir={ROOT}/tests/faults/conf",
        "reward=dying",
        f"reward.one_in={one_in}",
        "evaluation.samples=0",
        "evaluation.every=100",
        *settings,
    ]


def test_reward_workers_that_are_killed_are_started_again_and_no_verdict_changes(tmp_path):
    command = judged_by_workers("schedule.steps=3", one_in=0)
    whole, hit = tmp_path / "whole", tmp_path / "hit"
    assert Life(whole, command, tmp_path / "cache").end() == 0, log(whole)
    life = Life(hit, command, tmp_path / "cache", at=("reward", 1), act="kill the reward workers")
    assert life.end() == 0, log(hit)
    assert table(hit) == table(whole)
    assert rollouts(hit) == rollouts(whole)
    assert {line["verdict"] for line in rollouts(hit)} == {"correct", "wrong"}


def dying(rate: float, steps: int) -> list[str]:
    return judged_by_workers(
        f"schedule.steps={steps}", f"faults.reward_failure_rate={rate}", "checkpoint.every_steps=null", one_in=8
    )


def test_judges_that_die_again_and_again_stop_the_run_with_a_checkpoint(tmp_path):
    folder = tmp_path / "run"
    assert Life(folder, dying(0.03, STEPS), tmp_path / "cache").end() == 1
    content = record(folder)
    assert content["status"] == "failed"
    assert "could not be judged, which is more than faults.reward_failure_rate=0.03 of 200" in content["fault"]
    assert "died: two workers ended inside this call" in content["fault"]
    assert said("the same command goes on from the checkpoint of step", folder)
    assert "Traceback" not in log(folder)
    last = int(table(folder)[-1]["step"])
    assert 0 < last < STEPS
    (checkpoint,) = (folder / "checkpoints").glob("step-*.ckpt")
    assert read_checkpoint(checkpoint)["counters"]["step"] == last
    # With the judges repaired (here: with the limit lifted) it goes on from there.
    assert Life(folder, dying(1.0, STEPS), tmp_path / "cache").end() == 0, log(folder)
    assert record(folder)["resumed_after"] == [last]
    assert [int(row["step"]) for row in table(folder)] == list(range(STEPS + 1))


def test_completions_that_could_not_be_judged_are_excluded_and_counted(tmp_path):
    folder = tmp_path / "run"
    assert Life(folder, dying(1.0, 2), tmp_path / "cache").end() == 0, log(folder)
    unjudged = [line for line in rollouts(folder) if line["verdict"] == "error"]
    assert unjudged
    assert all(line["advantage"] == 0 for line in unjudged)
    counted = sum(int(float(row["excluded_completions"])) for row in table(folder)[1:])
    assert counted == len(unjudged)


# ---------------------------------------------------------------------------------------------------- W&B


def test_a_resumed_run_has_the_same_id_and_no_step_twice(tmp_path, whole):
    folder = tmp_path / "run"
    for point in [("rollout", 4), ("after a checkpoint", 3)]:
        assert Life(folder, TRACKED, tmp_path / "cache", at=point).end() == -signal.SIGKILL, log(folder)
    assert Life(folder, TRACKED, tmp_path / "cache").end() == 0, log(folder)
    runs = [run for run in offline_runs(folder) if run.id]  # a life that was killed may have left an empty file
    assert runs
    assert {run.id for run in runs} == {record(folder)["fingerprint"]}
    steps = [step for run in runs for step in run.steps]
    assert steps == sorted(set(steps))
    assert steps[-1] == STEPS
    assert table(folder) == table(whole)


def test_the_process_of_wandb_is_killed_and_the_run_goes_on_with_a_new_one(tmp_path, whole):
    folder = tmp_path / "run"
    life = Life(folder, TRACKED, tmp_path / "cache", at=("reward", 4), act="kill W&B")
    assert life.end() == 0, log(folder)
    assert same_run(final_state(whole), final_state(folder)) == []
    assert table(folder) == table(whole)
    assert said("It was started again and has all steps so far", folder)
    last = offline_runs(folder)[-1]
    assert last.id == record(folder)["fingerprint"]
    assert last.steps == list(range(STEPS + 1))  # what `wandb sync` sends is complete
    assert [row["accuracy"] for row in last.rows[1:]] == [float(row["accuracy"]) for row in table(folder)[1:]]


def test_a_server_that_refuses_connections_leaves_an_offline_run(tmp_path, whole):
    folder = tmp_path / "run"
    nowhere = {
        "WANDB_MODE": "online",
        "WANDB_BASE_URL": "http://127.0.0.1:9",  # the discard port, which nobody listens on
        "WANDB_API_KEY": "0" * 40,
        "WANDB__GRAPHQL_RETRY_MAX": "1",
        "WANDB__GRAPHQL_TIMEOUT_SECONDS": "2",
    }
    assert Life(folder, TRACKED, tmp_path / "cache", environment=nowhere).end() == 0, log(folder)
    assert said("W&B cannot be reached", folder)
    assert said("`wandb sync` sends it later", folder)
    assert offline_runs(folder)[-1].steps == list(range(STEPS + 1))
    assert table(folder) == table(whole)


# --------------------------------------------------------------------------------------------------- disk


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (("before rollout records", 3), "rollouts.jsonl could not be written"),
        (("checkpoint", 3), "the checkpoint of step 4 could not be written"),
    ],
)
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(tmp_path, small_disk, whole, point, message):
    folder, filler = small_disk / "run", small_disk / "filler"
    full = {"GAINRL_TEST_FILLER": str(filler)}
    command = [*RUN, f"hydra.run.dir={folder}"]
    life = Life(tmp_path / "run", command, tmp_path / "cache", at=point, act="fill the disk", environment=full)
    assert life.end() == 1, log(tmp_path / "run")
    assert said(message, tmp_path / "run")
    assert said("Make room on the disk and repeat the command", tmp_path / "run")
    assert "Traceback" not in log(tmp_path / "run")
    kept = sorted((folder / "checkpoints").glob("step-*.ckpt"))
    assert [read_checkpoint(path)["counters"]["step"] for path in kept] == [2, 3]
    filler.unlink()
    assert Life(tmp_path / "run", command, tmp_path / "cache").end() == 0, log(tmp_path / "run")
    assert record(folder)["resumed_after"] == [3]
    assert same_run(final_state(whole), final_state(folder)) == []
    assert table(folder) == table(whole)
    assert rollouts(folder) == rollouts(whole)
