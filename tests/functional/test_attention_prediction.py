import numpy as np
import pytest

from gainrl.functional.attention_prediction import SHARPNESS, attention_predictions


def test_numbers_on_paper():
    references, outcomes = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, 0.0])
    # Centred at 0: cosines of (2, 0) are 1 and -1, so that the first weighs e^s / (e^s + e^-s).
    new = np.array([[2.0, 0.0], [0.0, 5.0]])
    assert attention_predictions(references, outcomes, new, 1.0) == pytest.approx([1 / (1 + np.exp(-2)), 0.5])


def test_the_sharpness_is_the_one_that_predicts_the_references_best_from_each_other():
    rng = np.random.default_rng(0)
    angles = rng.random(40) * 2 * np.pi
    references, outcomes = np.stack([np.cos(angles), np.sin(angles)], 1), (np.cos(angles) > 0).astype(float)
    new = np.array([[0.2, 1.0], [-0.2, 1.0]])  # close to the border, where the sharpness tells

    def error(sharpness):
        left_out = [
            attention_predictions(np.delete(references, k, 0), np.delete(outcomes, k), references[k][None], sharpness)
            for k in range(40)
        ]
        return float(np.square(np.ravel(left_out) - outcomes).mean())

    chosen = attention_predictions(references, outcomes, new)
    fitting = [s for s in SHARPNESS if attention_predictions(references, outcomes, new, s) == pytest.approx(chosen)]
    # The centre moves a little when one is left out, which tells no two of them apart here.
    assert fitting == [min(SHARPNESS, key=error)]
    assert chosen[0] > 0.7 > 0.3 > chosen[1]


def test_a_single_reference_is_the_prediction_and_none_is_refused():
    assert attention_predictions(np.ones((1, 2)), np.array([0.25]), np.zeros((3, 2))) == pytest.approx([0.25] * 3)
    with pytest.raises(ValueError, match="give one or more"):
        attention_predictions(np.ones((0, 2)), np.zeros(0), np.zeros((1, 2)))
