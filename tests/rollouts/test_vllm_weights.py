import pytest
import torch

from gainrl.rollouts.vllm_weights import policy_weights
from tests.architectures import build_policy


def test_plain_weights_go_out_under_their_names_a_tied_output_layer_among_them():
    model = build_policy("qwen2").model
    found = dict(policy_weights(model))
    assert found.keys() == {*dict(model.named_parameters()), "lm_head.weight"}
    assert torch.equal(found["lm_head.weight"], found["model.embed_tokens.weight"])
    assert all(torch.equal(found[name], value) for name, value in model.named_parameters())


def test_adapters_are_merged_on_the_way_out_and_stay_where_they_are():
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(r=2, target_modules=["q_proj", "embed_tokens"], init_lora_weights=False)
    model = peft.get_peft_model(build_policy("llama").model, settings)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = dict(policy_weights(model))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    merged = dict(model.merge_and_unload().named_parameters())
    assert found.keys() == merged.keys()
    for name, value in merged.items():
        torch.testing.assert_close(found[name], value.detach(), rtol=1e-6, atol=1e-6)


def test_adapters_that_are_off_leave_the_base_weights():
    peft = pytest.importorskip("peft")
    base = build_policy("llama").model
    plain = {name: value.detach().clone() for name, value in base.named_parameters()}
    model = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    with model.disable_adapter():
        found = dict(policy_weights(model))
    assert all(torch.equal(found[name], value) for name, value in plain.items())
