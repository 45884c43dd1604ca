"""The expected peak against what a step of training really holds, tensor by tensor."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM

from gainrl.models.lora import add_adapter
from gainrl.models.tiny import TinyModel
from gainrl.training.upkeep.peak import Plan, expected_footprint, model_sizes
from gainrl.types import SamplingParams
from tests.memory_held import MemoryHeld
from tests.training.rig import ScriptedEngine, data_of, fit, module_of


def step_of(*, lora: int = 0, **settings):
    """A run of two steps whose completions are as long as they may be."""
    policy = TinyModel(hidden_size=64, intermediate_size=256, layers=4, heads=4, max_length=256).load()
    if lora:
        policy.model = add_adapter(policy.model, rank=lora)
    engine = ScriptedEngine(*(f"{digit} + 2 = 3 " * 9 for digit in range(1, 5)))
    return module_of(
        policy,
        engine=engine,
        sampling=SamplingParams(group_size=4, max_new_tokens=90),
        optimizer=partial(torch.optim.AdamW, lr=1e-4, foreach=False),
        **settings,
    )


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"objective": {"beta": 0.04}},
        {"lora": 4},
        {"micro_batch_tokens": 400},
    ],
    ids=["plain", "reference", "adapter", "small micro-batches"],
)
def test_the_expected_peak_of_an_update_is_within_a_quarter_of_what_is_held(settings, precision):
    module = step_of(**settings)
    data = data_of(module, steps=2)
    prompt = max(map(len, data.prompts(range(len(data.problems)))))
    expected = expected_footprint(module, prompt, Plan(mixed=precision == "bf16-mixed"))
    with MemoryHeld() as memory:
        fit(module, data, precision=precision)
    assert module.experience.lengths.unique().tolist() == [90]  # as long as they may be
    assert module.counters.updates == 2
    assert (expected.held + expected.update) / memory.most == pytest.approx(1, abs=0.25)


def test_a_model_without_attention_heads_has_sizes_too():
    with torch.device("meta"):
        model = MambaForCausalLM(MambaConfig(vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=2))
    sizes = model_sizes(model)
    assert (sizes.layers, sizes.hidden_width, sizes.key_value_width) == (2, 16, 0)
    assert sizes.parameters == sum(weight.numel() for weight in model.parameters())
