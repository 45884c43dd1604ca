import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gainrl.functional.footprint import BatchSizes, ModelSizes, footprint, readable

MODEL = ModelSizes(
    parameters=1000, trained=100, layers=2, hidden_width=8, inner_width=16, key_value_width=4, vocabulary=50
)
BATCH = BatchSizes(
    micro_batch_tokens=10, chunk_entries=200, decoding=6, prompt_tokens=5, completion_tokens=7, group_size=3
)


def changed(record, **changes):
    return type(record)(**{name: getattr(record, name) for name in record.__slots__} | changes)


def test_every_part_follows_its_formula():
    found = footprint(MODEL, BATCH)
    assert found.weights == 4 * 1000
    assert found.gradients == 4 * 100
    assert found.optimizer == 2 * 4 * 100
    assert found.activations == 4 * 10 * (2 * (10 * 8 + 4 * 16) + 4 * 8)
    assert found.backward == 4 * 10 * (10 * 8 + 4 * 16)
    assert found.logits == 3 * 4 * 200
    assert found.cache == 2 * 4 * 2 * 4 * (6 * 7 + 2 * 5)  # six completions of two prompts


def test_the_larger_of_update_and_rollout_counts_in_the_peak():
    held = 4 * 1000 + 3 * 4 * 100
    small = footprint(MODEL, BATCH)
    assert small.peak == held + small.activations + small.backward
    wordy = footprint(changed(MODEL, vocabulary=5000), BATCH)
    assert wordy.peak == held + wordy.activations + wordy.logits
    large = footprint(MODEL, changed(BATCH, decoding=6000))
    assert large.peak == held + large.cache


def test_a_frozen_copy_adds_its_weights_alone():
    assert footprint(MODEL, changed(BATCH, frozen_copies=1)).peak - footprint(MODEL, BATCH).peak == 4 * 1000


def test_each_of_several_shards_holds_its_share_beside_a_whole_copy_of_the_weights():
    found = footprint(MODEL, changed(BATCH, shards=4))
    assert found.weights == 4 * 1000 + 1000
    assert found.gradients == 100
    assert found.optimizer == 200


def test_checkpointing_keeps_one_width_per_layer_and_one_layer_in_full():
    found = footprint(MODEL, changed(BATCH, checkpointing=True))
    assert found.activations == 4 * 10 * (2 * 8 + (10 * 8 + 4 * 16) + 4 * 8)


def test_a_chunk_holds_one_row_of_logits_or_more_and_no_more_than_a_micro_batch():
    assert footprint(changed(MODEL, vocabulary=500), BATCH).logits == 3 * 4 * 500
    assert footprint(changed(MODEL, vocabulary=2), BATCH).logits == 3 * 4 * 2 * 10


@pytest.mark.parametrize(("width", "inner", "layers"), [(64, 192, 3), (32, 256, 5)])
def test_activations_are_those_that_autograd_keeps(width, inner, layers):
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=20,
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=4,
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
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = model.model(input_ids=torch.zeros(2, tokens // 2, dtype=torch.int64), use_cache=False)
    assert hidden.last_hidden_state.requires_grad
    sizes = changed(MODEL, layers=layers, hidden_width=width, inner_width=inner)
    expected = footprint(sizes, changed(BATCH, micro_batch_tokens=tokens)).activations
    assert sum(size for size, _ in kept.values()) == pytest.approx(expected, rel=0.05)


def test_bytes_are_said_in_the_unit_that_fits():
    assert readable(3 * 2**20) == "3 MiB"
    assert readable(1.5 * 2**30) == "1.5 GiB"
