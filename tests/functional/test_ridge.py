import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainrl.functional.ridge import ridge_predictions


def test_numbers_on_paper():
    known, outcomes = np.array([[0.0], [2.0]]), np.array([0.0, 1.0])
    # Centred: x = -1, 1 and y = -.5, .5; s = 1, so that w = 1 / (2 + strength) and w = 1/4 at strength 2.
    assert ridge_predictions(known, outcomes, np.array([[1.0], [3.0]]), 2.0) == pytest.approx([0.5, 1.0])


def test_the_weights_minimise_the_penalised_squares():
    rng = np.random.default_rng(0)
    for examples, width in ((12, 3), (4, 9)):  # both ways to solve it
        known, outcomes = rng.normal(size=(examples, width)), rng.random(examples)
        features, targets = known - known.mean(0), outcomes - outcomes.mean()
        penalty = 0.3 * np.square(features).sum() / examples
        stacked = np.vstack([features, np.sqrt(penalty) * np.eye(width)])
        weights = np.linalg.lstsq(stacked, np.concatenate([targets, np.zeros(width)]), rcond=None)[0]
        new = rng.normal(size=(5, width))
        expected = outcomes.mean() + (new - known.mean(0)) @ weights
        assert ridge_predictions(known, outcomes, new, 0.3) == pytest.approx(expected)


@given(st.floats(0.01, 100), st.floats(-50, 50), st.integers(0, 1000))
def test_scale_and_place_of_the_features_change_nothing(scale, shift, seed):
    rng = np.random.default_rng(seed)
    known, outcomes, new = rng.normal(size=(6, 4)), rng.random(6), rng.normal(size=(3, 4))
    plain = ridge_predictions(known, outcomes, new, 0.5)
    assert ridge_predictions(scale * known + shift, outcomes, scale * new + shift, 0.5) == pytest.approx(
        plain, abs=1e-6
    )


def test_equal_features_predict_the_mean():
    assert ridge_predictions(np.ones((3, 2)), np.array([0, 0, 1.0]), np.zeros((2, 2)), 1.0) == pytest.approx(
        [1 / 3] * 2
    )


def test_no_example_and_no_strength_are_refused():
    for known, strength in ((np.zeros((0, 2)), 1.0), (np.zeros((2, 2)), 0.0)):
        with pytest.raises(ValueError, match="give 1 or more"):
            ridge_predictions(known, np.zeros(len(known)), np.zeros((1, 2)), strength)
