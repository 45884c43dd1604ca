import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gainrl.functional.footprint import BatchSizes, ModelSizes, footprint, readable
from gainrl.training.upkeep.peak import model_sizes

MODEL = ModelSizes(
    parameters=1000,
    trained=1000,
    linear=600,
    layers=2,
    hidden_width=8,
    inner_width=16,
    key_value_width=4,
    vocabulary=50,
)
BATCH = BatchSizes(
    micro_batch_tokens=10, chunk_entries=200, decoding=6, prompt_tokens=5, completion_tokens=7, group_size=3
)
MIXED = {"mixed": True}


def changed(record, **changes):
    return type(record)(**{name: getattr(record, name) for name in record.__slots__} | changes)


def test_every_part_follows_its_formula():
    found = footprint(MODEL, BATCH)
    assert found.weights == found.gradients == 4 * 1000
    assert found.optimizer == 2 * 4 * 1000
    assert found.activations == 10 * (2 * (32 * 8 + 16 * 16 + 8 * 4) + 16 * 8)
    assert found.backward == 10 * (32 * 8 + 16 * 16 + 8 * 4)
    assert found.logits == 3 * 4 * 200 + 4 * 50 * 8
    assert found.cache == 2 * 4 * 2 * 4 * (6 * 7 + 2 * 5) + 4 * 4 * 6 * 50  # six completions of two prompts
    assert found.gathered == found.step == found.copy == 0


def test_the_larger_of_update_and_rollout_counts_in_the_peak():
    small = footprint(MODEL, BATCH)
    assert small.held == 4 * 4 * 1000
    assert small.peak == small.held + small.activations + max(small.backward, small.logits)
    large = footprint(MODEL, changed(BATCH, decoding=6000))
    assert large.peak == large.held + large.cache
    assert footprint(MODEL, changed(BATCH, foreach=True)).step == 4 * 1000


def test_in_mixed_precision_linear_layers_are_cast_and_activations_shrink():
    found = footprint(MODEL, changed(BATCH, **MIXED))
    assert found.weights == 4 * 1000  # that train stay float32
    assert found.activations == 10 * (2 * (30 * 8 + 8 * 16 + 4 * 4) + 16 * 8)
    assert found.gathered == 2 * 600
    assert found.copy == 2 * (600 + 50 * 8)  # and the head, of a rollout
    assert footprint(MODEL, changed(BATCH, checkpointing=True, **MIXED)).gathered == 2 * 300


def test_beside_masters_a_model_in_bfloat16_takes_its_weights_and_gradients_again_and_half_the_activations():
    found = footprint(MODEL, changed(BATCH, pure=True))
    assert found.weights == (4 + 2 + 2) * 1000
    assert found.gradients == 4 * 1000
    assert 2 * found.activations == footprint(MODEL, BATCH).activations
    assert found.gathered == found.copy == 0
    assert footprint(changed(MODEL, trained=100), changed(BATCH, pure=True)).weights == 2 * 1000 + (4 + 2) * 100


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 4 * 1000),
        (MIXED, 2 * 600 + 4 * 400),
        (MIXED | {"moving": True}, 4 * 1000),
        ({"pure": True}, 2 * 1000),
        (MIXED | {"shards": 4}, 1000),
    ],
)
def test_a_reference_adds_its_weights_in_the_precision_it_is_kept_in(changes, expected):
    plain, with_reference = (
        footprint(MODEL, changed(BATCH, reference=reference, **changes)) for reference in (False, True)
    )
    assert with_reference.weights - plain.weights == expected


def test_shards_hold_their_share_of_all_that_trains_and_one_copy_for_rollouts():
    found = footprint(MODEL, changed(BATCH, shards=4, **MIXED))
    assert found.weights == found.gradients == 1000
    assert found.optimizer == 2000
    assert found.gathered == 2 * 300 * 2 + 2 * 4 * 400  # two layers; the ends with their gradients
    assert found.copy == 2 * 600 + 4 * 400


def test_vllm_takes_the_place_of_copy_and_cache_and_counts_in_the_update_unless_it_sleeps():
    hf = footprint(MODEL, BATCH)
    asleep = footprint(MODEL, changed(BATCH, engine="vllm", engine_bytes=70_000))
    awake = footprint(MODEL, changed(BATCH, engine="vllm", engine_bytes=70_000, engine_sleeps=False))
    assert asleep.peak == hf.held + 70_000
    assert awake.peak == hf.held + 70_000 + hf.update
    elsewhere = footprint(MODEL, changed(BATCH, engine="server"))
    assert elsewhere.rollout == 0


def test_checkpointing_keeps_one_width_per_layer_and_one_layer_in_full():
    found = footprint(MODEL, changed(BATCH, checkpointing=True))
    assert found.activations == 10 * (2 * 8 * 4 + (32 * 8 + 16 * 16 + 8 * 4) + 16 * 8)


def test_an_adapter_has_gradients_and_states_for_itself_alone():
    found = footprint(changed(MODEL, trained=100), BATCH)
    assert (found.weights, found.gradients, found.optimizer) == (4000, 400, 800)
    assert found.logits == 3 * 4 * 200  # the head has no gradient
    assert found.backward == 10 * (24 * 8 + 16 * 16 + 8 * 4)  # nor have the norms


def test_a_chunk_holds_as_many_logits_as_it_may_and_no_more_than_a_micro_batch():
    assert footprint(changed(MODEL, vocabulary=500, trained=0), BATCH).logits == 3 * 4 * 200
    assert footprint(changed(MODEL, vocabulary=2, trained=0), BATCH).logits == 3 * 4 * 2 * 10


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(("width", "inner", "layers", "shared"), [(64, 192, 3, 4), (32, 256, 5, 2)])
def test_activations_are_those_that_autograd_keeps(width, inner, layers, shared, mixed):
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=20,
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=shared,
        )
    )
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # holding on to it keeps its address its own
        return tensor

    tokens = 96
    precision = torch.autocast("cpu", torch.bfloat16, enabled=mixed, cache_enabled=False)  # as Lightning's
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), precision:
        hidden = model.model(input_ids=torch.zeros(2, tokens // 2, dtype=torch.int64), use_cache=False)
    assert hidden.last_hidden_state.requires_grad
    expected = footprint(model_sizes(model), changed(BATCH, micro_batch_tokens=tokens, mixed=mixed))
    found = sum(size for size, _ in kept.values())
    assert found == pytest.approx(expected.activations + expected.gathered, rel=0.05)


def test_bytes_are_said_in_the_unit_that_fits():
    assert readable(3 * 2**20) == "3 MiB"
    assert readable(1.5 * 2**30) == "1.5 GiB"
