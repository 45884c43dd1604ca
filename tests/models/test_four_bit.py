"""Weights in 4 bits below an adapter: what is packed, that nothing else differs, and what leaves the model."""

import sys

import pytest
import torch

from gainrl.functional.footprint import BatchSizes, footprint
from gainrl.models.export import export_policy
from gainrl.models.four_bit import count, packed, packed_names, unpacked
from gainrl.models.hub import HubModel
from gainrl.rollouts.vllm_weights import policy_weights
from gainrl.training.upkeep.peak import model_sizes
from tests.models.tiny_folders import hub, save_tiny

IDS = torch.arange(40).reshape(2, 20) * 5


def four_bits(folder, **settings):
    pytest.importorskip("bitsandbytes", reason="needs pip install 'gainrl[bitsandbytes]'")
    return hub(source=folder, lora_rank=2, load_in_4bit=True, **settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="module")
def policy(folder):
    """A policy whose adapter has moved."""
    policy = four_bits(folder)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        for weight in policy.model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn_like(weight)
    return policy


def test_without_an_adapter_or_the_library_it_is_refused_before_a_weight_is_read(folder, monkeypatch):
    with pytest.raises(ValueError, match=r"nothing that trains; type model\.lora_rank=32"):
        HubModel(source=folder, load_in_4bit=True)
    model = HubModel(source=folder, lora_rank=2, load_in_4bit=True)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ValueError, match=r"pip install 'gainrl\[bitsandbytes,lora\]', or type"):
        model.check()


def test_a_model_with_transposed_weights_is_refused(tmp_path):
    pytest.importorskip("bitsandbytes", reason="needs pip install 'gainrl[bitsandbytes,lora]'")
    model = HubModel(source=save_tiny(tmp_path, "gpt2"), lora_rank=2, load_in_4bit=True)
    with pytest.raises(ValueError, match=r"transposed.* type model\.load_in_4bit=false"):
        model.check()


def test_linear_layers_but_the_head_are_packed_and_only_the_adapter_trains(policy, folder):
    whole = dict(hub(source=folder).model.named_parameters())
    held = {name: weight for name, weight in policy.model.get_base_model().named_parameters() if packed(weight)}
    assert {name.replace(".base_layer.", ".") for name in held} == {
        name for name, weight in whole.items() if weight.ndim == 2 and "_proj" in name
    }
    for name, weight in held.items():
        original = whole[name.replace(".base_layer.", ".")]
        assert count(weight) == original.numel() == 2 * weight.numel()
        # NF4 has 16 levels in [-1, 1], the farthest .30 apart, times the largest of 64 weights.
        assert (unpacked(weight) - original).abs().max() <= 0.16 * original.abs().max()
    assert all("lora_" in name for name, weight in policy.model.named_parameters() if weight.requires_grad)


def test_the_rest_of_a_state_goes_into_another_model_of_the_same_kind(policy, folder):
    names = packed_names(policy.model)
    assert {name for name in policy.model.state_dict() if "base_layer.weight" in name} == names
    rest = {name: value for name, value in policy.model.state_dict().items() if name not in names}
    other = four_bits(folder).model
    assert not torch.equal(other(IDS).logits, policy.model(IDS).logits)
    assert other.load_state_dict(rest, strict=False).unexpected_keys == []
    assert torch.equal(other(IDS).logits, policy.model(IDS).logits)


def test_sampling_and_training_read_the_same_rounded_weights(policy):
    """In eval mode without gradients, as rollouts run, and in train mode with them."""
    model = policy.model
    learned = model(IDS).logits.detach()
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(IDS).logits, learned, rtol=1e-5, atol=1e-5)
        one = torch.cat([model(IDS[:1, : end + 1]).logits[:, -1] for end in range(20)])
    torch.testing.assert_close(one, learned[0], rtol=1e-4, atol=1e-4)
    model.train()


def test_an_exported_policy_is_whole_and_says_nothing_of_4_bits(policy, tmp_path):
    before = policy.model(IDS).logits.detach()
    export_policy(policy, tmp_path)
    assert torch.equal(policy.model(IDS).logits, before)
    again = hub(source=str(tmp_path))
    torch.testing.assert_close(again.model(IDS).logits, before, rtol=1e-4, atol=1e-4)
    assert not any(packed(weight) for weight in again.model.parameters())
    assert "quantization" not in (tmp_path / "config.json").read_text()


def test_an_exported_policy_says_in_which_precision_it_is(folder, tmp_path):
    export_policy(four_bits(folder, dtype="bfloat16"), tmp_path)
    assert hub(source=str(tmp_path), dtype="auto").model.dtype == torch.bfloat16


def test_another_engine_gets_whole_weights_with_the_adapter_added(policy, tmp_path):
    export_policy(policy, tmp_path)
    saved = hub(source=str(tmp_path)).model.state_dict()
    sent = dict(policy_weights(policy.model))
    assert sent.keys() == saved.keys()
    for name, weight in sent.items():
        torch.testing.assert_close(weight, saved[name], rtol=1e-6, atol=1e-6)


def test_its_memory_is_known_before_it_is_loaded(policy, folder):
    skeleton = HubModel(source=folder, lora_rank=2, load_in_4bit=True).skeleton()
    sizes = model_sizes(skeleton)
    assert sizes == model_sizes(policy.model)
    batch = BatchSizes(
        micro_batch_tokens=64, chunk_entries=1 << 20, decoding=8, prompt_tokens=8, completion_tokens=8, group_size=4
    )
    held = sum(weight.numel() * weight.element_size() for weight in policy.model.parameters())
    held += sum(
        value.numel() * value.element_size()
        for name, value in policy.model.state_dict().items()
        if name.endswith(("weight.absmax", "weight.nested_absmax"))
    )
    assert footprint(sizes, batch).weights == pytest.approx(held, rel=0.02)
    assert (
        footprint(sizes, batch).weights < footprint(model_sizes(hub(source=folder, lora_rank=2).model), batch).weights
    )
