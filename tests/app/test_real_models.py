"""Tiny models of real architectures train on real problems, through the configuration that the command composes."""

import csv
import io
import json

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from gainrl.app.components import build_components
from gainrl.app.errors import ConfigError
from gainrl.app.train import run_job
from tests.composition import composed
from tests.models.tiny_folders import save_tiny
from tests.published_data import excerpt, needs_data

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma", "gpt2", "gpt_neox")
DATASETS = ("gsm8k", "math", "mbpp")
FILES = {"gsm8k_train": 12, "gsm8k_test": 2, "math_train": 12, "math500_test": 2, "mbpp_train": 12, "mbpp_test": 2}
QUICK = (
    "logger=none",
    "schedule.steps=2",
    "schedule.prompts_per_step=2",
    "schedule.steps_per_epoch=1",
    "algorithm.group_size=4",
    "rollout.max_new_tokens=6",
    "evaluation.samples=0",
    "evaluation.limit=1",
    "optimizer.optimizer.lr=1e-3",
)
# A policy of noise writes nothing that is right: a coin gives it something to learn from.
COIN = ("reward=custom", "reward.path=tests.composition:coin")


def combinations():
    """Every architecture with and without an adapter, on two of the three texts in the daily suite."""
    for place, architecture in enumerate(ARCHITECTURES):
        for rank in (0, 2):
            for turn, dataset in enumerate(DATASETS):
                daily = (place + rank) % 3 == turn
                yield pytest.param(architecture, rank, dataset, marks=() if daily else pytest.mark.slow)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr("gainrl.app.run.draw_curves", lambda *given, **options: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return excerpt(tmp_path_factory.mktemp("data"), FILES)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {name: save_tiny(tmp_path_factory.mktemp(name) / "model", name) for name in ARCHITECTURES}


def trained(folder, model, dataset, data, *overrides):
    """The record of a run, and its rows of metrics."""
    config = composed(
        "model=hub",
        f"model.source={model}",
        f"dataset={dataset}",
        f"data_dir={data}",
        *QUICK,
        *overrides,
        folder=folder,
    )
    run_job(config, Console(file=io.StringIO()))
    with open(folder / "metrics.csv", newline="") as file:
        return json.loads((folder / "record.json").read_text()), list(csv.DictReader(file))


def moved(before, after):
    """Names of the weights that changed."""
    old, new = (load_file(f"{folder}/model.safetensors") for folder in (before, after))
    assert old.keys() == new.keys()
    return {name for name in old if not torch.equal(old[name], new[name].to(old[name]))}


@needs_data
@pytest.mark.parametrize(("architecture", "rank", "dataset"), combinations())
def test_grpo_trains_every_architecture_on_real_text(architecture, rank, dataset, models, data, tmp_path):
    record, rows = trained(
        tmp_path, models[architecture], dataset, data, *COIN, f"model.lora_rank={rank}", "algorithm.objective.beta=0.04"
    )
    assert record["status"] == "finished"
    assert record["metrics"]["steps"] == 2
    assert record["metrics"]["rollouts"] == 16
    assert all(float(row["grad_norm"]) < float("inf") for row in rows[1:])
    changed = moved(models[architecture], tmp_path / "policy")
    assert changed
    if rank:  # an adapter sits in the linear layers; what it adds is merged into them on export
        assert not any("norm" in name or "embed" in name or "wte" in name for name in changed)


@needs_data
@pytest.mark.parametrize(("dataset", "judge"), [("gsm8k", "MathReward"), ("mbpp", "CodeReward")])
def test_a_data_set_is_judged_by_the_reward_that_it_brings(dataset, judge, models, data, tmp_path):
    record, rows = trained(tmp_path, models["qwen2"], dataset, data)
    stored = (tmp_path / "config.yaml").read_text()
    assert judge in stored
    judged = [
        {name: float(value) for name, value in row.items() if name.startswith("verdicts/") and value} for row in rows
    ]
    assert all(sum(row.values()) == 1 and not row["verdicts/gold_unparsable"] for row in judged[1:])
    if dataset == "mbpp":
        assert record["judges"]["reward"]["contained"]
        outcomes = [
            sum(float(value or 0) for name, value in row.items() if name.startswith("outcomes/")) for row in rows
        ]
        assert outcomes[1:] == [1, 1]
    else:
        assert record["judges"] == {}


@pytest.mark.parametrize("rank", [0, 2])
@needs_data
def test_checkpointing_recomputes_layers_while_training(rank, models, data, tmp_path, monkeypatch):
    from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP

    backward, forward = torch.autograd.backward, Qwen2MLP.forward
    inside, recomputed = [False], []

    def noted_backward(*given, **named):
        inside[0] = True
        try:
            return backward(*given, **named)
        finally:
            inside[0] = False

    def noted_forward(self, *given, **named):
        if inside[0]:
            recomputed[-1] += 1
        return forward(self, *given, **named)

    monkeypatch.setattr(torch.autograd, "backward", noted_backward)
    monkeypatch.setattr(Qwen2MLP, "forward", noted_forward)  # that of a layer decides itself whether to checkpoint
    for checkpointing in (False, True):
        recomputed.append(0)
        given = (*COIN, f"model.lora_rank={rank}", f"model.gradient_checkpointing={checkpointing}")
        trained(tmp_path / str(checkpointing), models["qwen2"], "gsm8k", data, *given)
    assert recomputed[0] == 0
    assert recomputed[1] >= 2 * 2  # two layers in two steps


@needs_data
def test_an_adapter_over_weights_in_4_bits_trains_and_goes_on_bit_for_bit(models, data, tmp_path):
    pytest.importorskip("bitsandbytes", reason="needs pip install 'gainrl[bitsandbytes]'")
    given = (models["llama"], "gsm8k", data, *COIN, "model.lora_rank=2", "model.load_in_4bit=true")
    trained(tmp_path / "short", *given)
    record, _ = trained(tmp_path / "resumed", *given, "schedule.steps=4", f"resume={tmp_path / 'short'}")
    trained(tmp_path / "whole", *given, "schedule.steps=4")
    assert record["resumed_after"] == [2]
    for folder in ("short", "whole"):
        assert bool(moved(tmp_path / "resumed" / "policy", tmp_path / folder / "policy")) is (folder == "short")


@pytest.mark.parametrize(
    ("setting", "hint"),
    [("trainer=fsdp", "type trainer=ddp"), ("trainer.precision=bf16-master", r"type trainer\.precision=bf16-mixed")],
)
def test_weights_in_4_bits_are_refused_where_they_would_have_to_be_in_full(setting, hint, models, tmp_path):
    pytest.importorskip("bitsandbytes", reason="needs pip install 'gainrl[bitsandbytes]'")
    four_bits = ("model=hub", f"model.source={models['llama']}", "model.lora_rank=2", "model.load_in_4bit=true")
    with pytest.raises(ConfigError, match=hint):
        build_components(composed(*four_bits, "dataset=arithmetic", *QUICK, setting, folder=tmp_path))
