"""Two processes compute what one computes: the same prompts and completions, and weights equal to float rounding."""

from __future__ import annotations

import signal

import pytest

from tests.app.pairs import STEPS, alone, differences, log, record, started, together, wait_for

ARMS = {
    "gain and grpo, refreshed every epoch": ["baseline=gain_rl", "schedule.refresh_every_epochs=1"],
    "mopps and dapo, refilled": ["baseline=dapo", "curriculum=mopps"],
    "adarft and dr_grpo": ["baseline=adarft", "algorithm=dr_grpo"],
    "uniform and reinforce_pp": ["baseline=vanilla_grpo", "algorithm=reinforce_pp"],
    "sec and gspo, twice over two mini-batches": [
        "baseline=sec",
        "algorithm=gspo",
        "algorithm.inner_epochs=2",
        "schedule.prompts_per_step=6",
        "algorithm.minibatch_prompts=3",
    ],
    "ppo with a critic": ["baseline=ppo", "curriculum=uniform"],
}


@pytest.mark.parametrize("arm", ARMS)
def test_two_processes_compute_what_one_computes(tmp_path, arm):
    one, two = tmp_path / "one", tmp_path / "two"
    lives = [alone(one, ARMS[arm], tmp_path / "cache of one")]
    lives += together(two, [*ARMS[arm], "trainer=ddp"], tmp_path / "cache of two")
    assert [life.end() for life in lives] == [0, 0, 0], log(one) + log(two)
    assert record(two)["metrics"]["updates"] >= STEPS // 2  # else equal weights would say little
    assert differences(one, two) == []


def test_shards_take_up_a_run_of_one_process_and_compute_what_it_would(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    arm = ["baseline=gain_rl", "algorithm.inner_epochs=2", "algorithm.micro_batch_size=2", "checkpoint.every_steps=1"]
    killed = alone(two, arm, tmp_path / "cache of two", at=("after a checkpoint", 0))
    lives = [alone(one, arm, tmp_path / "cache of one")]
    assert killed.end() == -signal.SIGKILL, log(two)
    lives += together(two, [*arm, "trainer=fsdp"], tmp_path / "cache of two")
    assert [life.end() for life in lives] == [0, 0, 0], log(one) + log(two)
    assert record(two)["resumed_after"] == [1]
    assert differences(one, two) == []


def test_a_run_that_lightning_started_stops_when_one_process_is_asked_to_and_others_go_on_with_it(tmp_path):
    """The command by itself starts the second process; the run is then taken up as torchrun would start it."""
    one, two = tmp_path / "one", tmp_path / "two"
    arm = ["baseline=gain_rl", "checkpoint.every_steps=null", "evaluation.samples=0"]
    lives = [alone(one, arm, tmp_path / "cache of one")]
    first = started(two, [*arm, "trainer=ddp", "trainer.devices=2"], tmp_path / "cache of two")
    wait_for(two / "metrics.csv", "\n1,", first)
    first.terminate()
    assert first.wait(600) == 75, log(two)
    assert record(two)["status"] == "interrupted"
    lives += together(two, [*arm, "trainer=ddp"], tmp_path / "cache of two")
    assert [life.end() for life in lives] == [0, 0, 0], log(one) + log(two)
    assert len(record(two)["resumed_after"]) == 1
    assert differences(one, two) == []
