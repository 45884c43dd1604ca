"""Whole steps on a pretended GPU: nothing meets what is on another device."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.values import ValueSettings
from gainrl.rollouts.hf import HFEngine
from gainrl.signals.angle import AngleSignal
from gainrl.signals.perplexity import PerplexitySignal
from gainrl.training.advantages import Mismatch
from gainrl.training.callbacks import Evaluation
from gainrl.training.concentration_settings import Concentration
from gainrl.training.critic import CriticSettings
from gainrl.types import Rollout
from tests.pretend_gpu import DeviceMismatch, OnGPU, move, pretending
from tests.training.rig import data_of, module_of


class Gathered(HFEngine):
    """Leaves its rollouts in memory of the host, as the gathered ones of several ranks are."""

    def generate(self, *given):
        found = super().generate(*given)
        return Rollout(
            prompts=found.prompts,
            group_size=found.group_size,
            completion_ids=found.completion_ids.cpu(),
            lengths=found.lengths.cpu(),
            finish_reasons=found.finish_reasons,
            sampling_logprobs=found.sampling_logprobs.cpu(),
        )


def critic(trunk):
    settings = CriticSettings(value=ValueSettings(), trunk=trunk, learning_rate=1e-3)
    return {"advantage": AdvantageSettings(baseline="none", scale="tokens"), "critic": settings}


KINDS = {
    "grpo": {},
    "kl in the loss": {"objective": {"beta": 0.04}},
    "two mini-batches, two inner epochs": {"minibatch_prompts": 2, "inner_epochs": 2},
    "a moving reference, kl in the reward": {
        "objective": {"beta": 0.04, "kl_placement": "reward"},
        "reference_sync": {"every": 1, "mixing": 0.5},
    },
    "truncated completions masked": {"truncated": "mask", "overlong": {"buffer_fraction": 0.5}},
    "rollouts gathered on the host": {
        "engine": Gathered(),
        "minibatch_prompts": 2,
        "inner_epochs": 2,
        "mismatch": Mismatch(importance_cap=2.0),
    },
    "a critic on the policy's trunk": critic("shared"),
    "a critic on its own": critic("separate"),
    "a small head": {"micro_batch_tokens": 40},
}


def on_gpu(**settings):
    """A module on the device, with what a trainer would give it, and its data."""
    optimizer = partial(torch.optim.AdamW, lr=1e-2, foreach=False)
    module = module_of(**({"optimizer": optimizer, "concentration": Concentration(), "engine": HFEngine()} | settings))
    data = data_of(module, steps=2)
    data.bind(None)
    if module.reference is not None:
        module.reference.keep()
        move(module.reference._model)
    move(module)
    chosen = module.configure_optimizers()
    module._trainer = SimpleNamespace(
        datamodule=data, should_stop=False, callback_metrics={}, logged_metrics={}, progress_bar_metrics={}
    )
    module.optimizers = lambda: chosen
    module.lr_schedulers = lambda: None
    module.manual_backward = lambda loss: loss.backward()
    return module, data


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_stays_on_its_device(kind, monkeypatch):
    module, data = on_gpu(**KINDS[kind])
    batches = iter(data.train_dataloader())
    before = [weight.host.clone() for weight in module.model.parameters()]
    with pretending(monkeypatch):
        for index in range(2):
            module.training_step(next(batches), index)
    assert module.counters.updates
    assert all(isinstance(weight, OnGPU) for weight in module.model.parameters())
    moved = [not torch.equal(weight.host, old) for weight, old in zip(module.model.parameters(), before, strict=True)]
    assert any(moved)


def test_evaluation_and_signals_stay_on_their_device(monkeypatch):
    module, data = on_gpu()
    with pretending(monkeypatch):
        metrics = Evaluation(every=1, samples=2, max_new_tokens=4).measure(module, data)
        prompts = data.prompts(range(len(data.problems)))
        for signal in (AngleSignal(), PerplexitySignal()):
            values = signal.compute(data.problems, prompts, module.policy)
            assert np.isfinite(values).all()
    assert 0 <= metrics["eval/accuracy"] <= 1


def test_decoding_waits_for_the_device_once_in_many_steps(monkeypatch):
    """Every wait lets the device run dry: one look at the rows in 16 steps, and nothing else in the loop."""
    from gainrl.types import SamplingParams
    from tests.architectures import build_policy, build_prompts
    from tests.rollouts.test_hf import keys_for

    def found(room):
        policy = build_policy("llama", stop_ids=(30,))  # which no draw gives
        move(policy.model)
        with pretending(monkeypatch) as waits:
            sampling = SamplingParams(group_size=2, max_new_tokens=room)
            HFEngine().generate(policy, build_prompts([4, 6]), sampling, keys_for(2))
            return sum(waits.values())

    assert found(65) - found(33) == 2


def test_judging_waits_as_often_for_few_completions_as_for_many(monkeypatch):
    def found(prompts):
        module, data = on_gpu(prompts_per_step=prompts)
        with pretending(monkeypatch) as waits:
            module.training_step(next(iter(data.train_dataloader())), 0)
            return sum(count for line, count in waits.items() if line.startswith("training/collection.py"))

    assert found(2) == found(4) > 0


def test_two_devices_that_meet_are_found():
    with pytest.raises(DeviceMismatch, match=r"aten.add.Tensor"):
        OnGPU(torch.ones(2)) + torch.ones(2)
    assert (OnGPU(torch.ones(2)) + torch.tensor(1.0)).host.tolist() == [2, 2]
    with pytest.raises(TypeError, match="call cpu"):
        OnGPU(torch.ones(2)).numpy()
