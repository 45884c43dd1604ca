import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainrl.functional.budgets import area_under_curve, budget_ratio, budget_to_target, kaplan_meier, median_budget


def test_area_of_a_straight_line_is_its_middle():
    assert area_under_curve(np.array([0, 100]), np.array([0.2, 0.6]), 100) == pytest.approx(0.4)


def test_area_stops_at_the_budget_between_two_evaluations():
    # 0 to 50 rises 0 to 0.5, 50 to 75 is flat: (0.25 * 50 + 0.5 * 25) / 75
    assert area_under_curve(np.array([0, 50, 100]), np.array([0, 0.5, 0.5]), 75) == pytest.approx(25 / 75)


def test_area_holds_the_last_score_up_to_the_budget():
    assert area_under_curve(np.array([0, 50]), np.array([0.0, 1.0]), 100) == pytest.approx(0.75)


def test_area_without_a_point_is_refused():
    with pytest.raises(ValueError, match="a point or more"):
        area_under_curve(np.array([]), np.array([]), 10)


def test_target_is_reached_on_the_line_between_evaluations():
    assert budget_to_target(np.array([0, 10, 20]), np.array([0.1, 0.2, 0.6]), 0.3) == (pytest.approx(12.5), True)


def test_target_met_at_the_start_costs_nothing():
    assert budget_to_target(np.array([0, 10]), np.array([0.5, 0.6]), 0.4) == (0.0, True)


def test_first_crossing_counts_even_if_the_curve_falls_again():
    assert budget_to_target(np.array([0, 10, 20]), np.array([0.0, 1.0, 0.0]), 0.5) == (pytest.approx(5.0), True)


def test_a_run_that_never_arrives_is_censored_at_its_budget():
    assert budget_to_target(np.array([0, 10, 20]), np.array([0.1, 0.2, 0.3]), 0.9) == (20.0, False)


def test_kaplan_meier_by_hand():
    # 1 reached of 4, one censored at 2, 1 reached of 2 at 3, one censored at 4.
    times, short = kaplan_meier(np.array([3, 1, 4, 2]), np.array([True, True, False, False]))
    np.testing.assert_allclose(times, [1, 2, 3, 4])
    np.testing.assert_allclose(short, [0.75, 0.75, 0.375, 0.375])


def test_censored_runs_raise_the_median_that_dropping_them_would_lower():
    budgets, reached = np.array([10, 20, 100, 100, 100]), np.array([True, True, False, False, False])
    assert median_budget(budgets, reached) == math.inf
    assert median_budget(budgets[:2], reached[:2]) == 10


def test_reaching_at_a_budget_counts_before_being_censored_there():
    assert median_budget(np.array([5.0, 5.0]), np.array([False, True])) == 5.0


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=15))
def test_without_censoring_the_median_is_the_lower_sample_median(budgets):
    expected = sorted(budgets)[(len(budgets) - 1) // 2]
    assert median_budget(np.array(budgets), np.ones(len(budgets), bool)) == expected


def cells(*runs):
    return [np.array(runs, float)]


def test_a_ratio_of_exactly_half_the_budget_has_no_width():
    ratio = budget_ratio(cells(*[(5.0, True)] * 6), cells(*[(10.0, True)] * 6))
    assert (ratio.low, ratio.estimate, ratio.high) == (0.5, 0.5, 0.5)


def test_an_arm_that_rarely_arrives_has_an_infinite_ratio():
    ratio = budget_ratio(cells((5.0, True), *[(50.0, False)] * 5), cells(*[(10.0, True)] * 6))
    assert ratio.estimate == math.inf
    assert ratio.high == math.inf


def test_no_ratio_to_a_reference_that_starts_above_the_target():
    assert math.isnan(budget_ratio(cells(*[(5.0, True)] * 3), cells(*[(0.0, True)] * 3)).estimate)


def test_bases_are_resampled_as_wholes():
    # Ratios ½ on one base and 2 on the other: a resample may hold one base twice.
    arm = [*cells(*[(5.0, True)] * 4), *cells(*[(20.0, True)] * 4)]
    reference = [*cells(*[(10.0, True)] * 4)] * 2
    ratio = budget_ratio(arm, reference)
    assert (ratio.low, ratio.high) == pytest.approx((0.5, 2.0))


def test_arms_on_other_bases_are_refused():
    with pytest.raises(ValueError, match="the same bases"):
        budget_ratio(cells((5.0, True)), [*cells((5.0, True)), *cells((5.0, True))])
