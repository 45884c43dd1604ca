import mmap
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from gainrl.functional.footprint import BatchSizes, footprint
from gainrl.models.scoring import chunk_entries
from gainrl.rollouts.hf import HFEngine
from gainrl.training.upkeep.peak import PeakMemory, Plan, engine_sizes, expected_footprint, model_sizes
from tests.functional.test_footprint import MODEL, changed
from tests.training.rig import module_of, tiny_policy


def test_sizes_are_those_of_the_model():
    model = tiny_policy().model
    sizes = model_sizes(model)
    assert sizes.parameters == sizes.trained == sum(weight.numel() for weight in model.parameters())
    assert (sizes.layers, sizes.hidden_width, sizes.inner_width, sizes.key_value_width) == (1, 16, 32, 16)
    assert sizes.linear == 4 * 16 * 16 + 3 * 16 * 32
    assert sizes.tied
    assert sizes.vocabulary == len(model.get_input_embeddings().weight)
    model.requires_grad_(False)
    assert model_sizes(model).trained == 0


def test_a_run_is_expected_to_need_what_its_step_holds():
    module = module_of(prompts_per_step=4)  # groups of 4, completions of 6 tokens
    sizes = BatchSizes(
        micro_batch_tokens=4 * (10 + 4 * 6),
        chunk_entries=chunk_entries(torch.device("cpu")),
        decoding=16,
        prompt_tokens=10,
        completion_tokens=6,
        group_size=4,
    )
    on_gpu = expected_footprint(module, 10, Plan(cuda=True))
    found = expected_footprint(module, 10)
    assert replace(found, gaps=0) == footprint(model_sizes(module.model), sizes)
    assert (found.gaps, on_gpu.gaps) == (round(0.3 * found.update), 0)
    assert found.peak == found.tensors + found.gaps


def test_replayed_prompts_count_as_those_of_the_step():
    replay = {"share": 0.5, "capacity": 8, "max_age": 4}
    plain, replayed = (expected_footprint(module_of(replay=one), 10) for one in (None, replay))
    assert replayed.activations == 2 * plain.activations


def test_an_evaluation_counts_on_a_processor_where_it_decodes_more_than_a_rollout():
    module = module_of(prompts_per_step=4, engine=HFEngine(max_batch_size=100))  # rollouts of 16 completions
    rollout = expected_footprint(module, 10)
    asked = expected_footprint(module, 10, evaluated={1: 350, 4: 48})
    assert asked.evaluation > asked.cache == rollout.cache
    assert (
        asked.evaluation == expected_footprint(module, 10, evaluated={1: 100}).evaluation
    )  # as many as decode at once
    assert expected_footprint(module, 10, evaluated={4: 16}).evaluation == rollout.cache
    assert expected_footprint(module, 10, Plan(cuda=True), evaluated={1: 350}).evaluation == 0


def test_a_reference_policy_counts_as_weights():
    plain, with_reference = (expected_footprint(module_of(objective={"beta": beta}), 10) for beta in (0.0, 0.1))
    assert with_reference.weights == 2 * plain.weights


def test_a_smaller_limit_on_tokens_means_fewer_activations():
    small, large = (expected_footprint(module_of(micro_batch_tokens=limit), 10) for limit in (10, 20))
    assert large.activations == 2 * small.activations


@pytest.mark.parametrize(
    ("settings", "plan", "expected"),
    [
        ({"memory_share": 0.5}, Plan(cuda=True, device_bytes=1000), 500),
        ({"memory_gib": 1.0}, Plan(), 4 * (1400 + 8192 * 8) + 2**30),
        ({"memory_gib": 1.0}, Plan(mixed=True), 2 * (1400 + 8192 * 8 + 600) + 2**30),
        ({"memory_gib": 1.0, "dtype": "float32"}, Plan(mixed=True), 4 * (1400 + 8192 * 8) + 2**30),
        ({"memory_gib": 1.0}, Plan(mixed=True, cuda=True), 2 * (1400 + 4096 * (8 + 4 * 8 + 3 * 16)) + 2**30),
    ],
)
def test_vllm_takes_its_share_or_its_weights_and_the_room_for_keys_and_values(settings, plan, expected):
    """A tied output layer becomes one of its own: 50 tokens of width 8 beside 1000 parameters.

    8192 tokens of width 8 come in on a CPU, 4096 on a GPU, which keeps room for a layer of inner width 16; a CPU holds
    600 parameters of linear layers twice in bfloat16.
    """
    engine = SimpleNamespace(
        **{"take_weights": None, "server": None, "memory_gib": None, "dtype": "auto", "sleep": None} | settings
    )
    model = changed(MODEL, tied=True)
    found = engine_sizes(engine, model, plan)
    assert found == {"engine": "vllm", "engine_bytes": expected, "engine_sleeps": plan.cuda}
    engine.server = "http://node7:8000"
    assert engine_sizes(engine, model, plan) == {"engine": "server"}


def test_the_peak_of_the_process_holds_what_was_freed_again():
    peak = PeakMemory(cuda=False)
    peak.begin()
    if peak.before == 0:
        pytest.skip("this system does not tell what a process holds")
    with mmap.mmap(-1, 64 << 20) as block:  # a tensor may lie in memory that the process holds already
        block.write(b"1" * (64 << 20))
    assert peak.most() - peak.before >= 60 << 20
