"""Two processes compute what one computes: the same prompts and completions, and weights equal to float rounding."""

from __future__ import annotations

import signal

import pytest

from gainrl.datasets.arithmetic import arithmetic
from gainrl.models.tiny import TinyModel
from tests.app.pairs import SMALL, STEPS, alone, differences, log, record, started, table, together, wait_for
from tests.composition import MIXTURE
from tests.curricula.simulated import strong_model

ARMS = {
    "gain and grpo, refreshed every epoch": ["baseline=gain_rl", "schedule.refresh_every_epochs=1"],
    "mopps and dapo, refilled, in two rounds": [
        "baseline=dapo",
        "curriculum=mopps",
        "allocation=speed",
        "allocation.screen=2",
    ],
    "uniform, knapsack and reinforce_pp": [
        "baseline=vanilla_grpo",
        "algorithm=reinforce_pp",
        "allocation=knapsack",
        "data_limit=10",  # so that prompts come back, and their groups differ in size
    ],
    "a bandit over the sources of a mixture, by muon": ["baseline=source_bandit", "optimizer=muon", *MIXTURE],
    "sec and gspo, twice over two mini-batches": [
        "baseline=sec",
        "algorithm=gspo",
        "algorithm.inner_epochs=2",
        "schedule.prompts_per_step=6",
        "algorithm.minibatch_prompts=3",
    ],
    "ppo with a critic": ["baseline=ppo", "curriculum=uniform"],
}

# Other methods, each with a state of its own that the processes have to share.
MORE_ARMS = {
    "adarft and dr_grpo": ["baseline=adarft", "algorithm=dr_grpo"],
    "goldilocks and coba": ["baseline=goldilocks", "allocation=coba", "data_limit=10"],
    "mopps by 8-bit adamw": ["baseline=mopps", "optimizer=adamw_8bit", "optimizer.optimizer.smallest=64"],
    "bots": ["baseline=bots", "curriculum.implicit=0.2", "signal.samples=2", "curriculum.strong=STRONG"],
    "dots with rollouts again": ["baseline=dots", "signal.samples=2"],
    "pcl": ["baseline=pcl"],
    "spo, one completion a prompt": ["baseline=spo", "algorithm.group_size=1"],
    "vcrl": ["baseline=vcrl"],
    "a bandit over levels": ["baseline=source_bandit", "curriculum.over=level"],
    "the hardest half by pass rate": ["baseline=hardest_fraction", "curriculum.keep_fraction=0.5", "signal.samples=2"],
    "a matched block": ["baseline=matched_block", "curriculum.keep_fraction=0.5", "signal.by.pass_rate.samples=2"],
}


@pytest.mark.parametrize("arm", [*ARMS, *(pytest.param(arm, marks=pytest.mark.slow) for arm in MORE_ARMS)])
def test_two_processes_compute_what_one_computes(tmp_path, arm):
    one, two = tmp_path / "one", tmp_path / "two"
    if "8-bit" in arm:
        pytest.importorskip("bitsandbytes", reason="needs pip install 'gainrl[bitsandbytes]'")
    strong = strong_model(tmp_path, arithmetic(terms=range(2, 9), train_per_level=8, held_out_per_level=4))
    overrides = [text.replace("STRONG", str(strong)) for text in (ARMS | MORE_ARMS)[arm]]
    small = [text for text in SMALL if "dataset=mixture" not in overrides or not text.startswith("dataset.")]
    lives = [alone(one, overrides, tmp_path / "cache of one", small=small)]
    lives += together(two, [*overrides, "trainer=ddp"], tmp_path / "cache of two", small=small)
    assert [life.end() for life in lives] == [0, 0, 0], log(one) + log(two)
    assert record(two)["metrics"]["updates"] >= STEPS // 2  # else equal weights would say little
    assert differences(one, two) == []
    if "data_limit=10" in overrides:
        sizes = [(row["allocation/smallest_group"], row["allocation/largest_group"]) for row in table(two)]
        assert any(smallest < largest for smallest, largest in sizes)


def test_shards_take_up_a_run_of_one_process_and_compute_what_it_would(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    arm = [
        "baseline=gain_rl",
        "algorithm.objective.beta=0.04",
        "algorithm.reference_sync={every:2,mixing:0.5}",
        "algorithm.inner_epochs=2",
        "algorithm.micro_batch_size=2",
        "checkpoint.every_steps=1",
    ]
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


@pytest.mark.parametrize(("strategy", "four_bits"), [("ddp", False), ("ddp", True), ("fsdp", False)])
def test_adapters_train_on_two_processes_and_go_on_with_one(tmp_path, strategy, four_bits):
    if four_bits:
        pytest.importorskip("bitsandbytes", reason="needs pip install 'gainrl[bitsandbytes]'")
    one, two = tmp_path / "one", tmp_path / "two"
    policy = TinyModel(hidden_size=16, intermediate_size=32, layers=2, heads=2, max_length=256).load()
    policy.model.save_pretrained(tmp_path / "model")
    policy.tokenizer.save_pretrained(tmp_path / "model")
    arm = [
        "baseline=gain_rl",
        "model=hub",
        f"model.source={tmp_path / 'model'}",
        "model.lora_rank=2",
        f"model.load_in_4bit={four_bits}",
        "trainer.precision=32-true",
        "algorithm.objective.beta=0.04",
        "checkpoint.every_steps=1",
    ]
    kept = [text for text in SMALL if not text.startswith(("model.", "debug="))]
    lives = [alone(one, arm, tmp_path / "cache of one", small=kept)]
    first = together(two, [*arm, f"trainer={strategy}"], tmp_path / "cache of two", small=kept, at=("row", 2))
    assert all(life.end() for life in first), log(two)
    lives.append(alone(two, arm, tmp_path / "cache of two", small=kept))
    assert [life.end() for life in lives] == [0, 0], log(one) + log(two)
    assert record(two)["resumed_after"] in ([1], [2])
    # One half of an adapter begins at zero, and AdamW makes whole steps of gradients that are near to nothing.
    assert differences(one, two, close=1e-4) == []


def test_a_run_in_shards_goes_on_from_its_shards_bit_for_bit_and_one_process_goes_on_with_them(tmp_path):
    whole, killed, one = tmp_path / "whole", tmp_path / "killed", tmp_path / "one"
    arm = ["baseline=gain_rl", "trainer=fsdp", "checkpoint.every_steps=1", "optimizer=adamw"]
    cache = tmp_path / "cache"
    first = together(killed, arm, cache, at=("row", 2))
    assert all(life.end() for life in first), log(killed)
    (checkpoint,) = sorted((killed / "checkpoints").glob("step-*.ckpt"))[-1:]
    assert list((killed / "checkpoints").glob(f"{checkpoint.stem}-*.shards"))
    lives = [alone(one, ["baseline=gain_rl", "checkpoint.every_steps=1", f"resume={killed}"], cache)]
    assert [life.end() for life in lives] == [0], log(one)
    lives = [*together(killed, arm, cache), *together(whole, arm, cache)]
    assert [life.end() for life in lives] == [0] * 4, log(killed) + log(whole)
    assert record(killed)["resumed_after"] == record(one)["resumed_after"]
    assert differences(whole, killed, close=0.0) == []
    assert differences(whole, one) == []
