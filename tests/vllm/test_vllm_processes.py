"""vLLM under several processes, and as a server: both for real, on this CPU."""

from __future__ import annotations

import csv
import signal

import pytest

pytestmark = pytest.mark.vllm
pytest.importorskip(
    "vllm", reason="vLLM is not installed here; `make test-vllm` runs these tests in their own environment"
)

from gainrl.models.tiny import TinyModel  # noqa: E402
from tests.app.pairs import alone, log, record, together  # noqa: E402
from tests.faults.lives import ROOT  # noqa: E402
from tests.vllm.serving import Served  # noqa: E402

STEPS = 4
SMALL = [
    "logger=none",
    "trainer.precision=32-true",
    f"schedule.steps={STEPS}",
    "schedule.prompts_per_step=5",
    "schedule.steps_per_epoch=2",
    "algorithm.group_size=4",
    "rollout=vllm",
    "rollout.max_new_tokens=8",
    "evaluation.every=2",
    "evaluation.limit=1",
    "evaluation.samples=0",
    "dataset.train_per_level=8",
    "dataset.held_out_per_level=4",
    "checkpoint.every_steps=1",
    "optimizer.optimizer.lr=1e-2",
    "reward=custom",
    f"reward.path={ROOT}/tests/faults/coin.py:score",
]
# Heads of width 32, which vLLM's CPU kernels need.
EMBEDDED = ["model.hidden_size=64", "model.intermediate_size=96", "model.layers=2", "model.heads=2"]


def disagreement(folder) -> list[float]:
    """By step, the largest difference between the log-probs of the rollout and of the training forward."""
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [float(row["rollout/logprob_difference_max"]) for row in rows if row["rollout/logprob_difference_max"]]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_with_a_vllm_in_each(tmp_path, strategy):
    """Old weights in either engine would show in the log-probs after the first step."""
    run = tmp_path / "run"
    arm = [*EMBEDDED, "model.warm_start=null", "rollout.engine.memory_gib=0.25", f"trainer={strategy}"]
    lives = together(run, arm, tmp_path / "cache", small=SMALL)
    assert [life.end() for life in lives] == [0, 0], log(run)
    assert record(run)["metrics"]["updates"] >= STEPS // 2
    found = disagreement(run)
    assert len(found) == STEPS
    assert max(found) < 1e-3


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    policy = TinyModel(hidden_size=64, intermediate_size=96, layers=2, heads=2, max_length=256).load()
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    served = Served(model, tmp_path_factory.mktemp("server") / "log").wait()
    yield served
    served.kill()


def arm_of(model, address, tmp_path, *, minutes=2.0):
    return [
        "model=hub",
        f"model.source={model}",
        f"rollout.engine.server={address}",
        f"rollout.engine.weights_folder={tmp_path / 'weights'}",
        f"rollout.engine.timeout_minutes={minutes}",
    ]


@pytest.mark.parametrize("strategy", [None, "fsdp"])
def test_a_server_gets_the_weights_of_every_step(model, server, tmp_path, strategy):
    run, arm = tmp_path / "run", arm_of(model, server.address, tmp_path)
    if strategy is None:
        lives = [alone(run, arm, tmp_path / "cache", small=SMALL)]
    else:
        lives = together(run, [*arm, f"trainer={strategy}"], tmp_path / "cache", small=SMALL)
    assert [life.end() for life in lives] == [0] * len(lives), log(run)
    found = disagreement(run)
    assert len(found) == STEPS
    assert max(found) < 1e-3
    # Each rollout has asserted its version; the last one is still there, behind the name of the run.
    name, _, version = server.ask("/weight_info")["weight_version"].partition(":")
    assert len(name) == 32
    assert int(version) > 0


def test_a_server_that_dies_or_hangs_ends_the_run_with_one_message_and_the_same_command_goes_on(model, tmp_path):
    run, logs = tmp_path / "run", tmp_path / "server.log"
    served = Served(model, logs).wait()
    arm = arm_of(model, served.address, tmp_path, minutes=2.0)
    try:
        for harm in (signal.SIGSTOP, signal.SIGKILL):  # it hangs, and it dies
            life = alone(run, [*arm, "schedule.steps=40"], tmp_path / "cache", small=SMALL)
            life.wait_for(run / "metrics.csv", "\n2," if harm is signal.SIGSTOP else "\n4,")
            served.signal(harm)
            assert life.end() == 1
            served.signal(signal.SIGCONT) if harm is signal.SIGSTOP else served.kill()
        text = log(run)
        assert text.count("does not answer") == 2, text
        assert "the same command then goes on from the last checkpoint" in text.replace("\n", " ")
        assert record(run)["status"] == "failed"
        served = Served(model, logs, port=served.port).wait()
        life = alone(run, [*arm, "schedule.steps=40"], tmp_path / "cache", small=SMALL)
        assert life.end() == 0, log(run)
    finally:
        served.kill()
    assert record(run)["status"] == "finished"
    assert len(record(run)["resumed_after"]) == 2
    assert max(disagreement(run)) < 1e-3
