"""What never enters the update changes no bit of it."""

from functools import partial

import pytest
import torch

import gainrl.training.learner as learner_module
from gainrl.training.batching import plan_minibatches
from tests.training.rig import RuleReward, tiny_policy, trained, weights


def with_idle_rows(*arguments, **settings):
    """Mini-batches as they are planned, followed by micro-batches of the rows that were left out."""
    plans = plan_minibatches(*arguments, **settings)
    experience, kept = arguments[:2]
    size = experience.group_size
    every = torch.tensor([prompt * size + member for prompt in kept for member in range(size)])
    for plan in plans:
        idle = every[~torch.isin(every, plan.rows)]
        assert len(idle) >= size
        plan.micro_batches = [*plan.micro_batches, *idle.split(size)]
    return plans


def even_problems_are_mixed(text, problem):
    """Every second problem has completions of both verdicts; the others are always wrong."""
    return int(problem.id.split("-")[1]) % 2 == 0 and len(text) % 2 == 0


@pytest.mark.parametrize("inner_epochs", [1, 2])
def test_a_step_is_bit_equal_to_one_with_the_rows_that_have_no_gradient(inner_epochs, monkeypatch):
    def train():
        return trained(
            policy=tiny_policy(),
            reward=RuleReward(even_problems_are_mixed),
            optimizer=partial(torch.optim.AdamW, lr=0.01),
            prompts_per_step=8,
            inner_epochs=inner_epochs,
            micro_batch_tokens=64,
        )

    without = train()
    monkeypatch.setattr(learner_module, "plan_minibatches", with_idle_rows)
    included = train()
    assert without.counters.updates == inner_epochs
    assert any(
        not torch.equal(value, weights(without)[name]) for name, value in tiny_policy().model.state_dict().items()
    )
    for name, value in weights(without).items():
        assert torch.equal(value, weights(included)[name]), name
