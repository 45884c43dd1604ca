import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gainrl.functional.policy_loss import importance_weights, logprob_difference


def loop_weights(training, engine, mask, cap):
    """The formula, token by token."""
    rows = zip(training.tolist(), engine.tolist(), mask.tolist(), strict=True)
    return [[min(math.exp(a - b), cap) if inside else 1.0 for a, b, inside in zip(*row, strict=True)] for row in rows]


@given(seed=st.integers(0, 100), cap=st.sampled_from([1.0, 1.5, 2.0, 10.0]))
def test_weights_equal_the_formula_token_by_token(seed, cap):
    source = torch.Generator().manual_seed(seed)
    training, engine = -3 * torch.rand(2, 3, 5, generator=source)
    mask = torch.rand(3, 5, generator=source) < 0.7
    expected = torch.tensor(loop_weights(training, engine, mask, cap))
    torch.testing.assert_close(importance_weights(training, engine, mask, cap), expected)


def test_halved_and_doubled_probabilities_by_hand():
    training = torch.tensor([[0.25, 0.5, 0.9]]).log()
    engine = torch.tensor([[0.5, 0.125, 0.9]]).log()
    mask = torch.ones(1, 3, dtype=torch.bool)
    torch.testing.assert_close(importance_weights(training, engine, mask, 2.0), torch.tensor([[0.5, 2.0, 1.0]]))
    found = logprob_difference(training, engine, mask)
    assert float(found["sum"]) == pytest.approx(math.log(2) + math.log(4))
    assert float(found["max"]) == pytest.approx(math.log(4))
    assert float(found["tokens"]) == 3


def test_padding_weighs_one_and_counts_nothing_whatever_stands_there():
    training = torch.tensor([[-1.0, math.nan], [-1.0, -math.inf]])
    engine = torch.tensor([[-1.0, 0.0], [-1.0, -math.inf]])
    mask = torch.tensor([[True, False], [True, False]])
    assert importance_weights(training, engine, mask, 2.0).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert {name: float(value) for name, value in logprob_difference(training, engine, mask).items()} == {
        "sum": 0.0,
        "tokens": 2.0,
        "max": 0.0,
    }


def test_a_vanishing_engine_probability_meets_the_cap():
    training, engine = torch.tensor([[-0.1]]), torch.tensor([[-1e30]])
    assert importance_weights(training, engine, torch.tensor([[True]]), 3.0).item() == pytest.approx(3.0)


def test_no_gradient_flows_through_weights():
    training = torch.tensor([[-1.0]], requires_grad=True)
    assert not importance_weights(training, torch.tensor([[-1.5]]), torch.tensor([[True]]), 2.0).requires_grad


@pytest.mark.parametrize("cap", [0.5, math.inf, math.nan])
def test_caps_out_of_range_are_refused(cap):
    with pytest.raises(ValueError, match="importance cap"):
        importance_weights(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), cap)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="must agree"):
        logprob_difference(torch.zeros(1, 2), torch.zeros(1, 1), torch.ones(1, 2, dtype=torch.bool))
