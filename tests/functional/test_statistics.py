import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gainrl.functional.statistics import holm, probability_of_improvement, student_quantile, student_tail

scores = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20).map(np.array)


@given(st.floats(-60, 60), st.floats(1, 1e5))
def test_tails_are_those_of_scipy(quantile, freedom):
    assert student_tail(quantile, freedom) == pytest.approx(stats.t.sf(quantile, freedom), rel=1e-6, abs=1e-12)


@given(st.floats(0.5, 0.9999), st.floats(1, 1e4))
def test_quantiles_are_those_of_scipy(probability, freedom):
    assert student_quantile(probability, freedom) == pytest.approx(
        stats.t.ppf(probability, freedom), rel=1e-5, abs=1e-6
    )


@pytest.mark.parametrize(
    ("probability", "freedom", "tabled"),
    [(0.975, 1, 12.706), (0.975, 4, 2.776), (0.95, 9, 1.833), (0.995, 9, 3.250), (0.975, 120, 1.980)],
)
def test_student_quantiles_are_the_tabled_ones(probability, freedom, tabled):
    assert student_quantile(probability, freedom) == pytest.approx(tabled, abs=5e-4)


def test_less_than_one_degree_of_freedom_is_refused():
    with pytest.raises(ValueError, match="1 or more"):
        student_tail(1.0, 0.5)


def test_holm_by_hand():
    # Sorted .01 .02 .03 .04 times 4 3 2 1: .04 .06 .06 .04, made to rise.
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_raw_value_and_bonferroni(p_values):
    raw = np.array(p_values)
    adjusted = holm(raw)
    assert (adjusted >= raw - 1e-15).all()
    assert (adjusted <= np.minimum(1, raw * len(raw)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(raw, kind="stable")]) >= 0).all()


def test_probability_of_improvement_counts_ties_one_half():
    # 1 against {0, 1}: a win and a tie; 2 against {0, 1}: two wins. (1 + 0.5 + 1 + 1) / 4
    assert probability_of_improvement([np.array([1.0, 2.0])], [np.array([0.0, 1.0])]) == pytest.approx(0.875)


def test_probability_of_improvement_is_a_mean_over_strata():
    treated = [np.array([1.0, 1.0]), np.array([0.0])]
    control = [np.array([0.0]), np.array([1.0, 1.0, 1.0])]
    assert probability_of_improvement(treated, control) == pytest.approx(0.5)


@given(scores, scores)
def test_probabilities_of_improvement_in_both_directions_add_to_one(x, y):
    assert probability_of_improvement([x], [y]) + probability_of_improvement([y], [x]) == pytest.approx(1.0)


def test_different_strata_are_refused():
    with pytest.raises(ValueError, match="same strata"):
        probability_of_improvement([np.ones(2)], [np.ones(2), np.ones(2)])
