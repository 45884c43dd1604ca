"""Token rewards, returns, GAE, whitening and the overlong penalty, against loops and by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gainrl.functional.advantages import AdvantageSettings, group_advantages, step_advantages
from gainrl.functional.returns import gae, overlong_penalty, returns_to_go, token_rewards, whiten

MASK = torch.tensor([[True, True, True], [True, True, False], [False, False, False]])


def test_the_reward_arrives_with_the_last_token_and_the_kl_is_paid_at_every_token():
    kl = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, float("nan")], [6.0, 6.0, 6.0]])
    rewards = token_rewards(torch.tensor([10.0, 20.0, 30.0]), MASK, kl, beta=0.1)
    torch.testing.assert_close(rewards, torch.tensor([[-0.1, -0.2, 9.7], [-0.4, 19.5, 0.0], [0.0, 0.0, 0.0]]))


def test_returns_by_hand():
    rewards = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, float("nan")], [9.0, 9.0, 9.0]])
    assert returns_to_go(rewards, MASK).tolist() == [[7.0, 6.0, 4.0], [3.0, 2.0, 0.0], [0.0, 0.0, 0.0]]
    assert returns_to_go(rewards, MASK, gamma=0.5).tolist() == [[3.0, 4.0, 4.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0]]


def test_masked_tokens_between_others_neither_pay_nor_discount():
    mask = torch.tensor([[True, False, False, True]])
    assert returns_to_go(torch.tensor([[1.0, 9.0, 9.0, 4.0]]), mask, gamma=0.5).tolist() == [[3.0, 0.0, 0.0, 4.0]]


def slow_gae(rewards, values, gamma, lam):
    """The definition as a double sum over the future, for one completion."""
    deltas = [
        rewards[t] + gamma * (values[t + 1] if t + 1 < len(values) else 0.0) - values[t] for t in range(len(values))
    ]
    return [sum((gamma * lam) ** (s - t) * deltas[s] for s in range(t, len(values))) for t in range(len(values))]


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.sampled_from([0.0, 0.95, 1.0]))
def test_gae_equals_the_sum_over_future_residuals_and_passes_over_masked_tokens(seed, gamma, lam):
    generator = torch.Generator().manual_seed(seed)
    shape = (4, 6)
    mask = torch.rand(shape, generator=generator) < 0.7
    rewards = torch.where(mask, torch.randn(shape, generator=generator, dtype=torch.float64), float("nan"))
    values = torch.where(mask, torch.randn(shape, generator=generator, dtype=torch.float64), float("nan"))
    advantages, targets = gae(rewards, values, mask, gamma=gamma, lam=lam)
    for i in range(4):
        real = mask[i]
        want = torch.tensor(slow_gae(rewards[i][real].tolist(), values[i][real].tolist(), gamma, lam)).double()
        torch.testing.assert_close(advantages[i][real], want, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(targets[i][real], want + values[i][real], rtol=1e-5, atol=1e-6)
        assert not advantages[i][~real].any()
        assert not targets[i][~real].any()


def test_gae_with_lambda_one_is_the_return_minus_the_value():
    rewards, values = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.25, 0.5, 0.75]])
    advantages, targets = gae(rewards, values, torch.ones(1, 3, dtype=torch.bool))
    assert advantages.tolist() == [[0.75, 0.5, 0.25]]
    assert targets.tolist() == [[1.0, 1.0, 1.0]]


@pytest.mark.parametrize("factors", [{"gamma": 1.1}, {"lam": -0.1}])
def test_factors_outside_zero_and_one_are_refused(factors):
    with pytest.raises(ValueError, match="between 0 and 1"):
        gae(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1, 1), **factors)


def test_whitened_tokens_have_mean_zero_and_deviation_one_over_the_step():
    values = torch.tensor([[1.0, 2.0, 6.0], [3.0, 8.0, float("nan")], [float("inf")] * 3])
    result = whiten(values, MASK, eps=0.0)
    assert float(result[MASK].mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(result[MASK].std()) == pytest.approx(1.0)
    assert not result[~MASK].any()


def test_whitening_equal_values_gives_exact_zeros():
    assert not whiten(torch.full((3, 3), 0.1), MASK, eps=0.0).any()
    assert not whiten(torch.ones(1, 1), torch.ones(1, 1), eps=0.0).any()


REWARDS = torch.tensor([[1.0, 0.0], [0.5, 0.25]])
VALID = torch.ones(2, 2, dtype=torch.bool)
LENGTHS = torch.tensor([3, 2, 1, 3])
STEP_MASK = torch.arange(3)[None] < LENGTHS[:, None]


def test_advantages_of_completions_are_the_same_at_all_their_tokens():
    settings = AdvantageSettings()
    result = step_advantages(rewards_PG=REWARDS, valid_PG=VALID, mask_BT=STEP_MASK, settings=settings)
    expected = group_advantages(REWARDS, VALID, settings).reshape(-1, 1) * STEP_MASK
    assert torch.equal(result, expected)


def test_a_kl_in_the_reward_of_completions_is_summed_before_the_baseline():
    kl = torch.tensor([[0.1, 0.1, 0.1], [1.0, 1.0, 7.0], [0.5, 7.0, 7.0], [0.0, 0.0, 0.25]])
    settings = AdvantageSettings(baseline="leave_one_out", scale="none")
    result = step_advantages(
        rewards_PG=REWARDS, valid_PG=VALID, mask_BT=STEP_MASK, settings=settings, kl_BT=kl, beta=0.1
    )
    # Rewards after the penalty: 0.97 and -0.2; 0.45 and 0.225. Each advantage is the difference to the other one.
    torch.testing.assert_close(result[:, 0], torch.tensor([1.17, -1.17, 0.225, -0.225]))


def test_token_level_advantages_are_whitened_returns_with_the_kl_inside():
    kl = torch.tensor([[0.1, 0.2, 0.3], [1.0, 1.0, 7.0], [0.5, 7.0, 7.0], [0.0, 0.0, 0.25]])
    settings = AdvantageSettings(baseline="none", scale="tokens", ddof=0, eps=0.0)
    result = step_advantages(
        rewards_PG=REWARDS, valid_PG=VALID, mask_BT=STEP_MASK, settings=settings, kl_BT=kl, beta=1.0
    )
    returns = [0.4, 0.5, 0.7, -2.0, -1.0, 0.0, 0.0, 0.0, 0.0]
    mean = sum(returns) / 9
    deviation = (sum((r - mean) ** 2 for r in returns) / 9) ** 0.5
    torch.testing.assert_close(result[STEP_MASK], torch.tensor([(r - mean) / deviation for r in returns]))
    assert not result[~STEP_MASK].any()


def test_a_completion_that_could_not_be_judged_leaves_the_whitening():
    valid = torch.tensor([[True, False], [True, True]])
    settings = AdvantageSettings(baseline="none", scale="tokens", eps=0.0)
    rewards = torch.tensor([[1.0, float("nan")], [0.0, 0.5]])
    result = step_advantages(rewards_PG=rewards, valid_PG=valid, mask_BT=STEP_MASK, settings=settings)
    kept = STEP_MASK & valid.reshape(-1, 1)
    assert float(result[kept].mean()) == pytest.approx(0.0, abs=1e-6)
    assert not result[1].any()


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="per-token KL"):
        step_advantages(rewards_PG=REWARDS, valid_PG=VALID, mask_BT=STEP_MASK, settings=AdvantageSettings(), beta=0.1)
    with pytest.raises(ValueError, match="3 rows, rewards 4"):
        step_advantages(rewards_PG=REWARDS, valid_PG=VALID, mask_BT=MASK, settings=AdvantageSettings())


def test_the_overlong_penalty_falls_from_the_start_of_the_buffer_to_the_limit():
    lengths = torch.tensor([0, 80, 81, 90, 100, 120])
    torch.testing.assert_close(overlong_penalty(lengths, 100, 20), torch.tensor([0.0, 0.0, -0.05, -0.5, -1.0, -1.0]))


@pytest.mark.parametrize("buffer", [0, 101])
def test_a_buffer_that_does_not_fit_is_refused(buffer):
    with pytest.raises(ValueError, match="at most max_tokens=100"):
        overlong_penalty(torch.tensor([1]), 100, buffer)


def test_a_completion_that_is_compared_without_training_pays_its_kl_too():
    """Four wrong completions with a KL of 3 each, one of them cut: nobody is better than another."""
    kl = torch.ones(4, 3)
    scored = torch.ones(4, 3, dtype=torch.bool)
    trains = scored.clone()
    trains[3] = False
    settings = AdvantageSettings(scale="none")
    given = {"rewards_PG": torch.zeros(1, 4), "valid_PG": torch.ones(1, 4, dtype=torch.bool), "mask_BT": trains}
    fair = step_advantages(**given, settings=settings, kl_BT=kl, beta=0.1, scored_BT=scored)
    assert fair.abs().max() == 0
    dearer = torch.tensor([1.0, 1.0, 1.0, 5.0])[:, None] * kl  # rewards -.3, -.3, -.3, -1.5: their mean is -.6
    advantages = step_advantages(**given, settings=settings, kl_BT=dearer, beta=0.1, scored_BT=scored)
    torch.testing.assert_close(advantages[:, 0], torch.tensor([0.3, 0.3, 0.3, 0.0]))
