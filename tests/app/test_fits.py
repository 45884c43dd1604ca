"""Runs that cannot fit are refused before a weight is loaded, with changes that make them fit."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from gainrl.app import fits
from gainrl.app.errors import ConfigError
from gainrl.functional.objectives import Objective
from gainrl.models.hub import HubModel
from gainrl.rollouts.hf import HFEngine
from gainrl.training.upkeep.peak import Plan, model_sizes
from gainrl.types import SamplingParams
from tests.models.tiny_folders import hub, save_tiny

MIB = 2**20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model"), "llama")


def parts(folder, *, tokens=16_384, **settings):
    """A configuration and components of a run with as much as decides its memory."""
    algorithm = SimpleNamespace(
        objective=Objective(),
        critic=None,
        micro_batch_tokens=tokens,
        micro_batch_size=None,
        reference_sync=None,
        replay=None,
    )
    components = SimpleNamespace(
        model_source=HubModel(source=folder, **settings),
        algorithm=algorithm,
        sampling=SamplingParams(group_size=8, max_new_tokens=200),
        engine=HFEngine(max_batch_size=8),
    )
    return SimpleNamespace(schedule=SimpleNamespace(prompts_per_step=32)), components


@pytest.mark.parametrize("rank", [0, 2])
def test_a_skeleton_has_the_sizes_of_the_model_and_no_memory(folder, rank):
    if rank:
        pytest.importorskip("peft")
    skeleton = HubModel(source=folder, lora_rank=rank).skeleton()
    assert all(weight.device.type == "meta" for weight in skeleton.parameters())
    assert model_sizes(skeleton) == model_sizes(hub(source=folder, lora_rank=rank).model)


def test_a_run_that_cannot_fit_is_refused_and_each_way_out_fits(folder):
    config, components = parts(folder)
    plan = Plan(cuda=True, device_bytes=8 * MIB)
    with pytest.raises(ConfigError, match=r"needs .* on each device, which has 8 MiB") as refused:
        fits.check_fits(config, components, 50, plan)
    limits = [int(text) for text in re.findall(r"micro_batch_tokens=(\d+)", str(refused.value))]
    assert limits
    for limit in limits:
        fits.check_fits(*parts(folder, tokens=limit), 50, plan)
    fits.check_fits(config, components, 50, Plan(cuda=True, device_bytes=4096 * MIB))


def test_a_rollout_that_cannot_fit_is_given_fewer_completions_at_a_time(folder):
    config, components = parts(folder, tokens=200)
    components.engine = HFEngine(max_batch_size=256)
    plan = Plan(cuda=True, device_bytes=4 * MIB)
    with pytest.raises(ConfigError) as refused:
        fits.check_fits(config, components, 50, plan)
    (rows,) = re.findall(r"rollout.engine.max_batch_size=(\d+)", str(refused.value))
    components.engine = HFEngine(max_batch_size=int(rows))
    fits.check_fits(config, components, 50, plan)


def test_vllm_is_given_a_smaller_share_where_one_holds_its_weights(folder, monkeypatch):
    monkeypatch.setattr("gainrl.training.upkeep.peak.BATCHED_ON_GPU", 16)  # a model this small is lighter than more
    config, components = parts(folder, tokens=200)
    owns = {"take_weights": None, "server": None, "memory_gib": None, "dtype": "auto", "sleep": None}
    components.engine = SimpleNamespace(**owns, memory_share=0.9)
    plan = Plan(cuda=True, device_bytes=4 * MIB)
    with pytest.raises(ConfigError, match=r"rollout.engine.memory_share=0.5"):
        fits.check_fits(config, components, 50, plan)
    components.engine.memory_share = 0.001
    with pytest.raises(ConfigError, match=r"memory_share=0.001 .* does not hold vLLM's weights") as refused:
        fits.check_fits(config, components, 50, plan)
    components.engine.memory_share = float(
        re.findall(r"type rollout.engine.memory_share=([\d.]+)", str(refused.value))[0]
    )
    fits.check_fits(config, components, 50, plan)


def test_where_nothing_helps_the_refusal_says_so(folder):
    with pytest.raises(ConfigError, match="No setting makes it fit; take a smaller model"):
        fits.check_fits(*parts(folder), 50, Plan(cuda=True, device_bytes=MIB // 8))


def test_where_the_memory_is_not_known_nothing_is_checked(folder):
    fits.check_fits(*parts(folder), 50, Plan())


def test_the_paper_s_models_fit_eight_gpus_with_reference_and_vllm_and_seven_billions_not_one():
    for name in ("0.5B", "1.5B", "3B", "7B"):
        model = fits.shape(name)
        assert fits.needed(model, engine="vllm", shards=8).peak < 0.92 * 80e9
    assert fits.needed(model, engine="vllm", shards=1).peak > 80e9
    # 7.6 billion parameters in float32: 4 bytes each, a quarter of them in each of four shards.
    assert fits.needed(model, engine="server", shards=4).weights == pytest.approx(2 * 7.6e9, rel=0.02)
    assert [row.count("|") for row in fits.table()] == [7] * 14


def test_the_page_shows_the_table_that_the_command_prints():
    page = (Path(__file__).parents[2] / "docs" / "several_processes.md").read_text()
    assert "\n".join(fits.table()) in page
