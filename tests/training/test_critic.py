from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.objectives import Objective
from gainrl.functional.values import ValueSettings
from gainrl.models.export import export_policy
from gainrl.models.tiny import TinyModel
from gainrl.training.collection import Experience, outcomes
from gainrl.training.critic import Critic, CriticSettings
from gainrl.types import FinishReason, Judgement, Problem, PromptBatch, PromptTokens, Rollout, SamplingParams, Verdict
from tests.training.rig import grpo

WHITENED = AdvantageSettings(baseline="none", scale="tokens", eps=1e-8)
PLAIN = AdvantageSettings(baseline="none", scale="none")
OBJECTIVE = Objective(aggregation="token_mean", beta=0.0)


def settings(trunk="shared", learning_rate=1e-2, **value):
    return CriticSettings(value=ValueSettings(**value), trunk=trunk, learning_rate=learning_rate)


def module(
    critic, *, group_size=2, advantage=WHITENED, objective=OBJECTIVE, optimizer=None, prompts_per_step=3, **options
):
    made = grpo(
        policy=TinyModel(hidden_size=16, intermediate_size=32, heads=2, layers=1).load(),
        engine=None,
        reward=None,
        objective=objective,
        advantage=advantage,
        sampling=SamplingParams(group_size=group_size, max_new_tokens=5),
        optimizer=optimizer or partial(torch.optim.SGD, lr=0.1),
        prompts_per_step=prompts_per_step,
        critic=critic,
        **options,
    )
    steps = made.configure_optimizers()
    made.optimizers, made.lr_schedulers = lambda: steps, lambda: None  # what the trainer gives a module
    made.manual_backward = lambda loss: loss.backward()
    return made


def experience(module, rewards):
    """Completions of 1 to 5 tokens; a reward of None is a verdict that the judge could not give."""
    size = module.sampling.group_size
    count = len(rewards) // size
    lengths = [1 + row % 5 for row in range(len(rewards))]
    ids = torch.arange(len(rewards) * 5).reshape(-1, 5) % 60 + 6
    prompts = [PromptTokens(tuple(range(7 + p, 12 + 2 * p)), {"question": (1, 4)}) for p in range(count)]
    problems = [Problem(id=str(p), question="", reference_answer="") for p in range(count)]
    batch = PromptBatch(np.arange(count), problems, prompts)
    reasons = [FinishReason.LENGTH if length == 5 else FinishReason.STOP for length in lengths]
    rollout = Rollout(prompts, size, ids, torch.tensor(lengths), reasons)
    verdicts = [
        Verdict(Judgement.ERROR, 0.0) if r is None else Verdict(Judgement.CORRECT if r else Judgement.WRONG, r)
        for r in rewards
    ]
    values = np.array([verdict.value for verdict in verdicts])
    groups = outcomes(batch, rollout, verdicts, values, step=0)
    made = Experience(size, module.policy.pad_id)
    made.add(batch, rollout, [""] * len(rewards), verdicts, groups)
    return made


def step(module, rewards):
    """One step's update on fixed completions; returns what it logs."""
    collected = experience(module, rewards)
    kept = list(range(len(collected.groups)))
    advantages = module.advantage_estimator.estimate(collected, kept)
    row = advantages.metrics | module.learner.update(collected, kept, advantages)[0]
    module.counters.step += 1
    module.sync_reference()
    return row


REWARDS = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]


def test_estimates_by_hand():
    critic = Critic(module(None).policy, settings(gamma=0.5, lam=0.5))
    mask = torch.tensor([[True, True, False], [True, False, False]])
    values = torch.tensor([[0.4, 0.6, 9.0], [0.5, 9.0, 9.0]])
    found = critic.estimates(torch.tensor([1.0, 0.0]), values, mask, PLAIN)
    # Last token: 1 - 0.6; the one before: 0.5 * 0.6 - 0.4 + 0.25 * 0.4.
    torch.testing.assert_close(found.advantages_BT, torch.tensor([[0.0, 0.4, 0.0], [-0.5, 0.0, 0.0]]))
    torch.testing.assert_close(found.targets_BT, torch.tensor([[0.4, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    assert found.metrics(mask)["value/mean"] == pytest.approx(0.5)
    kl = torch.tensor([[0.2, 0.0, 9.0], [0.0, 0.0, 9.0]])
    charged = critic.estimates(torch.tensor([1.0, 0.0]), values, mask, PLAIN, kl_BT=kl, beta=0.5)
    torch.testing.assert_close(charged.advantages_BT[0, :2], torch.tensor([-0.1, 0.4]))


def test_advantages_are_whitened_over_the_step_and_targets_are_not():
    made = module(settings(lam=1.0))
    found = made.advantage_estimator.estimate(experience(made, REWARDS), [0, 1, 2])
    chosen = found.advantages_BT[found.mask_BT]
    assert float(chosen.mean()) == pytest.approx(0, abs=1e-6)
    assert float(chosen.std()) == pytest.approx(1, abs=1e-5)
    # The head starts at zero, so that every token's target is the reward of its completion.
    wanted = torch.tensor(REWARDS)[:, None].expand(6, 5)
    torch.testing.assert_close(found.estimates.targets_BT[found.mask_BT], wanted[found.mask_BT])


def test_all_ratios_of_the_first_pass_are_one(monkeypatch):
    made = module(settings(), inner_epochs=2)
    seen = []
    learn = made.learner.learn_minibatch
    monkeypatch.setattr(
        made.learner, "learn_minibatch", lambda *a: seen.append(learn(*a)) or tuple(map(dict, seen[-1]))
    )
    step(made, REWARDS)
    (first, _), (second, _) = seen
    assert float(first["ratio/max"]) == 1.0
    assert float(first["ratio/sum"]) == float(first["tokens"])
    assert float(second["ratio/max"]) != 1.0


@pytest.mark.parametrize("trunk", ["shared", "separate"])
def test_micro_batches_change_memory_and_nothing_else(trunk):
    def trained(**limits):
        made = module(settings(trunk), max_grad_norm=1e9, inner_epochs=2, minibatch_prompts=3, **limits)
        step(made, REWARDS)  # the head is zero in the first step, so that only the second moves the trunk by values
        return made, step(made, REWARDS)

    (whole, row), (parts, again) = trained(), trained(micro_batch_size=2)
    assert whole.state_dict().keys() == parts.state_dict().keys()
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)
    assert row["value_loss"] == pytest.approx(again["value_loss"], rel=1e-4)


@pytest.mark.parametrize("trunk", ["shared", "separate"])
def test_the_critic_learns_the_rewards(trunk):
    made = module(settings(trunk, 0.05, lam=1.0, epsilon=None), optimizer=partial(torch.optim.Adam, lr=1e-4))
    rows = [dict(step(made, [1.0] * 2 + [0.0] * 4)) for _ in range(40)]
    assert rows[0]["value/mean"] == 0.0
    assert rows[-1]["value_loss"] < 0.3 * rows[0]["value_loss"]
    assert rows[-1]["value/explained_variance"] > 0.5 > rows[0]["value/explained_variance"]
    assert rows[-1]["value/mean"] == pytest.approx(rows[-1]["value/target"], abs=0.1)


def test_values_reach_the_policy_through_a_shared_trunk_only():
    def moved(trunk):
        made = module(settings(trunk, epsilon=None), objective=Objective(clip="none", epsilon=None))
        with torch.no_grad():
            made.critic.head.weight.fill_(0.1)
        before = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
        collected = experience(made, REWARDS)
        found = made.advantage_estimator.estimate(collected, [0, 1, 2])
        made.learner.update(collected, [0, 1, 2], replace(found, advantages_BT=torch.zeros_like(found.advantages_BT)))
        return any(not torch.equal(tensor, before[name]) for name, tensor in made.model.state_dict().items())

    assert moved("shared")
    assert not moved("separate")


def test_completions_without_a_verdict_and_masked_ones_teach_the_critic_nothing():
    made = module(settings(), truncated="mask")
    found = made.advantage_estimator.estimate(experience(made, [None, *REWARDS[1:]]), [0, 1, 2])
    assert found.mask_BT.any(dim=1).tolist() == [False, True, True, True, False, True]  # row 4 was cut at the limit
    assert not found.estimates.targets_BT[~found.mask_BT].any()


def test_a_group_of_one_is_enough():
    made = module(settings(), group_size=1)
    row = step(made, [1.0, 0.0, 1.0])
    assert row["grad_norm"] > 0
    with pytest.raises(ValueError, match="a group needs"):
        module(None, group_size=1, advantage=AdvantageSettings())
    with pytest.raises(ValueError, match="1 completion or more"):
        module(settings(), group_size=0)


def test_a_kl_in_the_reward_and_a_synced_reference_work_with_a_critic():
    objective = Objective(aggregation="token_mean", beta=0.05, kl_estimator="k1", kl_placement="reward")
    made = module(settings(), objective=objective, reference_sync={"every": 1, "mixing": 1.0})
    assert step(made, REWARDS)["kl"] == pytest.approx(0.0, abs=1e-6)
    assert step(made, REWARDS)["kl"] == pytest.approx(0.0, abs=1e-6)  # the reference is the policy again
    made.algorithm = replace(made.algorithm, reference_sync=None)
    step(made, REWARDS)
    assert abs(step(made, REWARDS)["kl"]) > 1e-4


def test_the_critic_has_its_own_learning_rate_and_stays_out_of_the_exported_policy(tmp_path):
    made = module(settings("separate", learning_rate=0.5))
    policy, critic = made.optimizers().param_groups
    assert (policy["lr"], critic["lr"]) == (0.1, 0.5)
    assert {id(p) for p in policy["params"]}.isdisjoint({id(p) for p in critic["params"]})
    assert {"critic.head.weight", "critic.head.bias"} <= set(made.state_dict())
    export_policy(made.policy, tmp_path)
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.state_dict().keys() == made.policy.model.state_dict().keys()


@pytest.mark.parametrize(
    ("change", "hint"),
    [({"trunk": "none"}, "use shared or separate"), ({"learning_rate": 0.0}, "must be positive")],
)
def test_settings_without_meaning_are_refused(change, hint):
    with pytest.raises(ValueError, match=hint):
        settings(**change)


def test_comparing_within_groups_as_well_is_refused():
    with pytest.raises(ValueError, match=r"algorithm.advantage.baseline=none"):
        module(settings(), advantage=AdvantageSettings())
