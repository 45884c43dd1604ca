import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainrl.functional.paired import (
    fewest_pairs,
    holm,
    paired_interval,
    pairs_needed,
    sign_flip_test,
    smallest_p,
    student_quantile,
    verdict,
)
from gainrl.functional.statistics import Interval
from gainrl.functional.streams import generator


@pytest.mark.parametrize(
    ("probability", "freedom", "tabled"),
    [(0.975, 1, 12.706), (0.975, 4, 2.776), (0.95, 9, 1.833), (0.995, 9, 3.250), (0.975, 120, 1.980)],
)
def test_student_quantiles_are_the_tabled_ones(probability, freedom, tabled):
    assert student_quantile(probability, freedom) == pytest.approx(tabled, abs=5e-4)


def coverage(sizes, draw, trials=600):
    """Share of intervals that hold the true mean 0, over tasks of these sizes."""
    hits = 0
    for trial in range(trials):
        rng = generator(trial, "coverage", *sizes)
        interval = paired_interval([draw(rng, size) for size in sizes], draws=400, seed=trial)
        hits += interval.low <= 0 <= interval.high
    return hits / trials


# Three binomial standard errors of 600 trials are 2.7 points.
@pytest.mark.parametrize(
    "sizes", [(2,), (3,), (5,), (7,), (8,), (10,), (20,), (3,) * 4, (2,) * 5, (3,) * 10, (10, 10), (1, 5)], ids=str
)
def test_intervals_of_normal_differences_cover_whatever_the_number_of_pairs(sizes):
    assert coverage(sizes, lambda rng, size: rng.normal(0.0, 1.0, size)) == pytest.approx(0.95, abs=0.027)


def test_tasks_of_different_means_cover_as_well():
    # The mean of all pairs is 0; what tasks differ by is no spread of the differences.
    shifts = iter([0.5, -0.5] * 600)
    assert coverage((4, 4), lambda rng, size: next(shifts) + rng.normal(0, 0.1, size)) == pytest.approx(0.95, abs=0.027)


def test_ten_skewed_differences_cover_where_students_interval_does_not():
    def skewed(rng, size):
        return rng.exponential(1.0, size) - 1.0

    def student(rng, trial):
        values = skewed(rng, 10)
        return abs(values.mean()) <= student_quantile(0.975, 9) * values.std(ddof=1) / math.sqrt(10)

    held = coverage((10,), skewed)
    assert held >= 0.92
    assert np.mean([student(generator(trial, "coverage", 10), trial) for trial in range(600)]) < held - 0.01


def test_two_pairs_have_students_interval_by_hand():
    # Mean 0.2, s = 0.1 √2, se = 0.1, t of one degree of freedom 12.706.
    interval = paired_interval([np.array([0.1, 0.3])])
    assert interval.estimate == pytest.approx(0.2)
    assert (interval.low, interval.high) == pytest.approx((0.2 - 1.2706, 0.2 + 1.2706), abs=1e-4)


def test_degrees_of_freedom_are_those_within_tasks():
    # Four tasks of two pairs, ±0.1 around means that differ: s² = 8 * 0.01 / 4, se = s / √8 = 0.05, t_4 = 2.776.
    interval = paired_interval([mean + np.array([-0.1, 0.1]) for mean in (0.0, 0.4, -0.4, 0.8)])
    assert interval.estimate == pytest.approx(0.2)
    assert (interval.high - interval.low) / 2 == pytest.approx(2.7764 * 0.05, abs=1e-4)


@given(st.lists(st.integers(-40, 40), min_size=2, max_size=14), st.integers(-50, 50), st.integers(1, 9))
def test_intervals_move_and_scale_with_the_differences(values, shift, scale):
    plain = paired_interval([np.array(values) / 100], draws=200)
    moved = paired_interval([(np.array(values) * scale + shift) / 100], draws=200)
    expected = [x * scale + shift / 100 for x in (plain.low, plain.estimate, plain.high)]
    assert [moved.low, moved.estimate, moved.high] == pytest.approx(expected, abs=1e-9)
    assert plain.low <= plain.estimate + 1e-12
    assert plain.estimate <= plain.high + 1e-12


def test_mostly_tied_differences_fall_back_on_students_interval():
    # Nine zeros and a one: four in ten resamples hold zeros only, so their spread says nothing.
    values = np.array([0.0] * 9 + [1.0])
    half = student_quantile(0.975, 9) * values.std(ddof=1) / math.sqrt(10)
    interval = paired_interval([values])
    assert (interval.low, interval.high) == pytest.approx((0.1 - half, 0.1 + half))


def test_large_samples_have_the_normal_interval():
    values = generator(0, "large").normal(1.0, 1.0, 400)
    interval = paired_interval([values])
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std(ddof=1) / 20, rel=0.06)


def test_one_pair_says_nothing_about_its_spread():
    interval = paired_interval([np.array([0.3])])
    assert interval.estimate == pytest.approx(0.3)
    assert (interval.low, interval.high) == (-math.inf, math.inf)


def test_pairs_are_resampled_within_their_task():
    interval = paired_interval([np.full(5, 0.1), np.full(5, -0.3)])
    assert (interval.low, interval.high) == pytest.approx((-0.1, -0.1))


def test_sign_flip_of_three_equal_differences_is_a_quarter():
    # Only +++ and --- of the eight patterns are as far out.
    assert sign_flip_test(np.array([0.1, 0.1, 0.1])) == pytest.approx(2 / 8)


def test_sign_flip_of_one_two_minus_one_by_hand():
    # |sum| = 2. Patterns of 1, 2, 1 with |sum| >= 2: ±4, ±2 (two ways each): 6 of 8.
    assert sign_flip_test(np.array([1.0, 2.0, -1.0])) == pytest.approx(6 / 8)


def test_sign_flip_of_no_difference_at_all_is_one():
    assert sign_flip_test(np.zeros(6)) == 1.0


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=8))
def test_sign_flip_equals_the_enumeration(values):
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    expected = np.mean([total >= abs(sum(values)) for total in sums])
    assert sign_flip_test(np.array(values) / 1000) == pytest.approx(float(expected))


def test_random_patterns_approach_the_exact_value():
    values = generator(3, "flips").normal(0.4, 1.0, 12)
    exact = sign_flip_test(values)
    assert sign_flip_test(values, exact_up_to=0, draws=40_000) == pytest.approx(exact, abs=0.01)


def test_random_patterns_never_give_zero():
    assert sign_flip_test(np.ones(40), draws=999) == pytest.approx(1 / 1000)


def test_without_any_effect_small_p_values_are_as_rare_as_they_say():
    p_values = np.array([sign_flip_test(generator(trial, "null").normal(0, 1, 8)) for trial in range(600)])
    assert (p_values <= 0.05).mean() <= 0.05 + 0.02
    assert (p_values <= 0.5).mean() == pytest.approx(0.5, abs=0.07)


def test_smallest_p_is_reached_when_all_differences_agree():
    assert sign_flip_test(np.arange(1.0, 7.0)) == smallest_p(6) == 2 / 64


@pytest.mark.parametrize(("comparisons", "pairs"), [(1, 6), (2, 7), (7, 9), (12, 9), (13, 10)])
def test_fewest_pairs_for_which_two_over_two_to_the_n_is_small_enough(comparisons, pairs):
    assert fewest_pairs(comparisons) == pairs
    assert comparisons * 2 / 2**pairs <= 0.05 < comparisons * 2 / 2 ** (pairs - 1)


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


@pytest.mark.parametrize(
    ("low", "high", "p", "expected"),
    [
        (0.005, 0.040, 0.01, "supported"),
        (0.005, 0.040, 0.20, "inconclusive"),
        (-0.010, 0.040, 0.01, "inconclusive"),
        (-0.010, 0.008, 0.90, "ruled out"),
        (0.001, 0.008, 0.01, "ruled out"),  # real, but smaller than what matters
        (-0.200, -0.100, 0.01, "ruled out"),
    ],
)
def test_verdicts_at_a_smallest_effect_of_one_point(low, high, p, expected):
    assert verdict(Interval((low + high) / 2, low, high), p, pairs=10, smallest_effect=0.01) == expected


@pytest.mark.parametrize(("pairs", "expected"), [(2, "inconclusive"), (4, "inconclusive"), (5, "ruled out")])
def test_fewer_than_five_pairs_rule_nothing_out(pairs, expected):
    assert verdict(Interval(-0.2, -0.3, -0.1), 0.5, pairs=pairs, smallest_effect=0.01) == expected


def test_an_interval_without_width_rules_nothing_out():
    assert verdict(paired_interval([np.zeros(10)]), 1.0, pairs=10, smallest_effect=0.01) == "inconclusive"
    lost = paired_interval([np.full(10, -0.25)])
    assert verdict(lost, 0.2, pairs=10, smallest_effect=0.01) == "inconclusive"
    assert verdict(lost, 0.01, pairs=10, smallest_effect=0.01) == "ruled out"


def test_a_smallest_effect_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"type 0\.01"):
        verdict(Interval(0, -1, 1), 0.5, pairs=10, smallest_effect=0)


def test_pairs_needed_follow_the_normal_formula():
    # s = 1, δ = 1: 7.849 pairs; δ = 0.5 four times as many.
    differences = np.array([-1.0, 0.0, 1.0])
    assert pairs_needed([differences], 1.0) == 8
    assert pairs_needed([differences], 0.5) == 32


def test_pairs_needed_do_not_grow_with_what_tasks_differ_by():
    differences = np.array([-1.0, 0.0, 1.0])
    assert pairs_needed([differences, differences + 50], 1.0) == 8


def test_pairs_needed_of_single_pairs_are_unknown():
    with pytest.raises(ValueError, match="no task has two"):
        pairs_needed([np.array([1.0]), np.array([2.0])], 1.0)
