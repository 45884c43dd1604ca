"""Groups of earlier steps in an update: ratio against their own policy, age, capacity, and what does not see them."""

import numpy as np
import pytest
import torch

from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.objectives import Objective
from gainrl.training.algorithm import Algorithm, ReplaySettings
from gainrl.training.replay import ReplayBuffer
from tests.training.rig import data_of, fit, module_of, weights

REPLAY = {"share": 0.5, "capacity": 512, "max_age": 8}


def trained(*, steps: int = 3, lr: float = 0.1, replay=REPLAY, **settings):
    """A run, and the old log-probs, the new ones and the experience of each micro-batch of its updates."""
    module = module_of(lr=lr, replay=replay, **settings)
    seen = []
    honest = module.learner.micro_batch_loss

    def watched(update, rows, watch=None):
        new = module.learner.scorer.logprobs(module.trained, update.experience, rows).detach()
        old = new if update.old_BT is None else update.old_BT[rows]
        seen.append((module.counters.step, update, rows, new, update.experience.as_sampled(old, rows)))
        return honest(update, rows, watch)

    module.learner.micro_batch_loss = watched
    fit(module, data_of(module, steps=steps))
    return module, seen


def test_the_share_of_an_update_that_is_replayed():
    assert ReplaySettings(share=0.5).prompts_of(8) == 8
    assert ReplaySettings(share=0.2).prompts_of(8) == 2
    assert ReplaySettings(share=0.01).prompts_of(8) == 1


def test_replayed_completions_are_compared_with_the_policy_that_sampled_them():
    module, seen = trained(steps=2)
    sampled = {}  # log-probs by prompt and completion, as the first update computed them
    for step, update, rows, new, old in seen:
        experience = update.experience
        for place, row in enumerate(rows.tolist()):
            length = int(experience.lengths[row])
            prompt = int(experience.owners[row])
            key = (experience.pool_rows[prompt], tuple(experience.completion_ids[row, :length].tolist()))
            mine, now = old[place, :length], new[place, :length]
            if prompt >= len(experience.prompts) - experience.replayed:
                assert step == 1
                assert torch.equal(mine, sampled[key])
                assert not torch.equal(mine, now)  # the policy has moved since
                sampled.pop(key)
            else:
                assert torch.equal(mine, now)
                sampled[key] = now
    assert module.replay.last


def test_without_a_moving_policy_every_ratio_is_1():
    rows = []
    module = module_of(lr=0.0, replay=REPLAY)
    honest = module.log_dict
    module.log_dict = lambda metrics, **options: rows.append(metrics) or honest(metrics, **options)
    fit(module, data_of(module, steps=3))
    assert [row["ratio/max"] for row in rows] == pytest.approx([1, 1, 1], abs=1e-5)
    assert [row["replay/groups"] > 0 for row in rows] == [False, True, True]
    assert rows[1]["replay/age"] == 1.0


def test_counters_metrics_and_curriculum_see_the_new_groups_alone():
    plain, replayed = trained(steps=3, replay=None)[0], trained(steps=3)[0]
    assert replayed.counters.rollouts == plain.counters.rollouts == 48
    assert len(replayed.experience.prompts) == 4
    assert len(replayed.advantages_B) == 16


def test_old_groups_are_forgotten_and_the_oldest_make_room():
    module, _ = trained(steps=4, replay=REPLAY | {"max_age": 1})
    assert {one.group.step for one in module.replay.last} == {2}  # replayed in step 3
    module, _ = trained(steps=4, replay=REPLAY | {"capacity": 3})
    assert len(module.replay.groups) == 3
    steps = [one.group.step for one in module.replay.groups]
    assert steps == sorted(steps)


def test_the_buffer_comes_back_from_its_state_bit_for_bit():
    module, _ = trained(steps=2)
    twin = ReplayBuffer(ReplaySettings(**REPLAY), 4, 0)
    twin.load_state_dict(module.replay.state_dict())
    one, other = (buffer.join(module.experience, [0], 2)[0] for buffer in (module.replay, twin))
    assert one.replayed == other.replayed > 0
    assert torch.equal(one.completion_ids, other.completion_ids)
    assert torch.equal(one.stored_logprobs.nan_to_num(), other.stored_logprobs.nan_to_num())
    assert one.pool_rows == other.pool_rows
    for left, right in zip(one.groups, other.groups, strict=True):
        assert np.array_equal(left.rewards, right.rewards)


def test_replayed_groups_are_dealt_out_to_the_mini_batches():
    _, seen = trained(steps=2, minibatch_prompts=2)
    plans = {id(update.plan): update for step, update, *_ in seen if step == 1}
    assert len(plans) == 2
    for update in plans.values():
        owners = update.experience.owners[update.plan.rows]
        assert (owners >= 4).any()


def test_micro_batches_change_no_weight_beyond_rounding():
    one, many = trained(steps=3)[0], trained(steps=3, micro_batch_size=1)[0]
    for name, value in weights(one).items():
        assert torch.allclose(value, weights(many)[name], atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"replay": {"share": 1.0}}, "algorithm.replay=null for no replay"),
        ({"replay": {"max_age": 0}}, "algorithm.replay.max_age=0 must be a whole number"),
        ({"replay": {"size": 3}}, "algorithm.replay has no size"),
        ({"replay": {}, "objective": Objective(beta=0.1, kl_placement="reward")}, "type algorithm=grpo"),
        ({"replay": {}, "advantage": AdvantageSettings(baseline="tracker", scale="none")}, "type algorithm=grpo"),
        ({"replay": {}, "advantage": AdvantageSettings(scale="tokens")}, "type algorithm=grpo"),
    ],
)
def test_what_replay_cannot_do_is_refused(given, message):
    settings = {"objective": Objective(), "advantage": AdvantageSettings(), "group_size": 4} | given
    with pytest.raises(ValueError, match=message):
        Algorithm(**settings)
