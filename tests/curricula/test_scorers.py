import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainrl.curricula.scorers import (
    learnability,
    mixed_probability,
    rank_difficulty,
    softmax,
)
from gainrl.functional.bandits import absolute_advantages, mean_absolute_advantage, upper_bounds


def test_learnability_is_the_variance_of_a_verdict():
    assert learnability(np.array([0.0, 0.25, 0.5, 1.0])).tolist() == [0, 0.1875, 0.25, 0]


def test_chance_of_a_mixed_group_of_eight():
    rates = mixed_probability(np.array([0.05, 0.1, 0.3, 0.5, 1.0]), 8)
    assert np.round(rates, 2).tolist() == [0.34, 0.57, 0.94, 0.99, 0]


@given(st.integers(0, 8))
def test_mean_absolute_advantage_is_that_of_the_group(correct):
    verdicts = np.arange(8) < correct
    assert absolute_advantages(verdicts).mean() == pytest.approx(mean_absolute_advantage(np.array(correct / 8)))


def test_upper_bounds_by_hand():
    bounds = upper_bounds(np.array([0.5, 0.0]), np.array([7, 0]))
    assert bounds == pytest.approx([0.5 + np.sqrt(2 * np.log(8) / 8), np.sqrt(2 * np.log(8))])


def test_softmax_by_hand_and_without_overflow():
    assert softmax(np.array([0.0, np.log(3.0)]), 1.0) == pytest.approx([0.25, 0.75])
    assert softmax(np.array([1000.0, 0.0]), 0.1) == pytest.approx([1.0, 0.0])


def test_difficulty_by_rank_shares_ties_and_puts_missing_values_last():
    assert rank_difficulty(np.array([0.9, 0.1, 0.5]), "high").tolist() == [0, 100, 50]
    assert rank_difficulty(np.array([3.0, 1.0, 1.0, np.nan, 2.0]), "low").tolist() == [75, 12.5, 12.5, 100, 50]
    assert rank_difficulty(np.array([4.0]), "low").tolist() == [0]
