"""Advantages where groups differ in size, against loops over one group after the other."""

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gainrl.functional.advantages import AdvantageSettings, in_groups, of_completions, step_advantages

GROUPS = st.lists(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, -2.0]), st.booleans()), min_size=1, max_size=6),
    min_size=1,
    max_size=5,
)
KINDS = [
    ("mean", "group"),
    ("mean", "none"),
    ("mean", "batch"),
    ("leave_one_out", "none"),
    ("none", "none"),
    ("none", "batch"),
]


def reference(groups, settings: AdvantageSettings) -> list[float]:
    """One number per completion, written as the formulas are."""
    everything = [reward for group in groups for reward, valid in group if valid]
    found = []
    for group in groups:
        known = [reward for reward, valid in group if valid]
        alike = len(set(known)) < 2
        for reward, valid in group:
            if not valid or (settings.baseline != "none" and alike):
                found.append(0.0)
                continue
            value = reward
            if settings.baseline == "mean":
                value -= statistics.fmean(known)
            elif settings.baseline == "leave_one_out":
                value -= (sum(known) - reward) / (len(known) - 1)
            if settings.scale == "group":
                value /= statistics.stdev(known) + settings.eps
            elif settings.scale == "batch":
                value = value / (statistics.stdev(everything) + settings.eps) if len(set(everything)) > 1 else 0.0
            found.append(value)
    return found


def ragged(groups):
    """Rewards and flags per completion, the shape of the padded table, and the place of each completion in it."""
    width = max(map(len, groups))
    rewards = torch.tensor([reward for group in groups for reward, _ in group], dtype=torch.float64)
    valid = torch.tensor([valid for group in groups for _, valid in group])
    places = torch.tensor([p * width + g for p, group in enumerate(groups) for g in range(len(group))])
    return rewards, valid, (len(groups), width), places


def advantages(groups, settings, **more):
    rewards, valid, shape, places = ragged(groups)
    return step_advantages(
        rewards_PG=in_groups(rewards, shape, places),
        valid_PG=in_groups(valid, shape, places),
        mask_BT=torch.ones(len(rewards), 2, dtype=torch.bool),
        settings=settings,
        places_B=places,
        **more,
    )


@pytest.mark.parametrize(("baseline", "scale"), KINDS)
@given(groups=GROUPS)
def test_each_group_is_compared_with_itself_whatever_its_size(baseline, scale, groups):
    settings = AdvantageSettings(baseline=baseline, scale=scale)
    found = advantages(groups, settings)
    expected = torch.tensor(reference(groups, settings), dtype=torch.float64)
    torch.testing.assert_close(found, expected[:, None].expand(-1, 2))


@given(groups=GROUPS)
def test_a_group_alone_has_the_advantages_it_has_beside_others(groups):
    settings = AdvantageSettings()
    alone = torch.cat([advantages([group], settings) for group in groups])
    torch.testing.assert_close(advantages(groups, settings), alone, rtol=0, atol=1e-12)


@given(groups=GROUPS)
def test_whitened_tokens_have_mean_zero_over_the_step(groups):
    found = advantages(groups, AdvantageSettings(scale="tokens"))
    valid = ragged(groups)[1]
    assert float(found[~valid].abs().sum()) == 0
    assert float(found.sum()) == pytest.approx(0, abs=1e-6)


def test_a_group_of_one_trains_where_nothing_is_compared():
    groups = [[(1.0, True)], [(0.0, True), (1.0, True)]]
    assert advantages(groups, AdvantageSettings(baseline="none", scale="none"))[:, 0].tolist() == [1, 0, 1]
    half = 0.5 / (math.sqrt(0.5) + 1e-4)
    assert advantages(groups, AdvantageSettings())[:, 0].tolist() == pytest.approx([0, -half, half])


def test_a_kl_in_the_reward_is_paid_in_the_completion_s_own_group():
    groups = [[(1.0, True)], [(1.0, True), (1.0, True), (0.0, True)]]
    kl = torch.tensor([[9.0, 9.0], [0.0, 0.0], [0.25, 0.25], [0.0, 0.0]], dtype=torch.float64)
    found = advantages(groups, AdvantageSettings(scale="none"), kl_BT=kl, beta=2.0)[:, 0]
    assert found.tolist() == pytest.approx([0, 1 - 1 / 3, 0 - 1 / 3, 0 - 1 / 3])  # rewards 1, 1 - 1 and 0


def test_equal_groups_need_no_places():
    rewards = torch.arange(6.0)
    assert torch.equal(in_groups(rewards, (2, 3), None), rewards.reshape(2, 3))
    assert torch.equal(of_completions(rewards.reshape(2, 3), None), rewards)
    places = torch.arange(6)
    assert torch.equal(in_groups(rewards, (2, 3), places), rewards.reshape(2, 3))
