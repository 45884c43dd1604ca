import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gainrl.functional.contrasts import (
    Estimate,
    bases_needed,
    contrast,
    correlation,
    problem_variance,
    runs_needed,
)
from gainrl.functional.streams import generator

LESS = (1.0, -1.0)


def runs(name, *sizes):
    return [generator(3, name, place).normal(0.5, 0.1, size) for place, size in enumerate(sizes)]


def test_on_one_base_it_is_welchs_test():
    ours, theirs = runs("ours", 5), runs("theirs", 8)
    found, wanted = contrast([ours, theirs], LESS), stats.ttest_ind(ours[0], theirs[0], equal_var=False)
    assert found.p_value() == pytest.approx(wanted.pvalue)
    assert found.freedom == pytest.approx(wanted.df)
    interval = found.interval(0.95)
    assert (interval.low, interval.high) == pytest.approx(tuple(wanted.confidence_interval()))
    one_sided = stats.ttest_ind(ours[0], theirs[0], equal_var=False, alternative="greater").pvalue
    assert found.p_above() == pytest.approx(one_sided)


def test_over_bases_it_is_students_test_of_the_differences_on_each():
    ours, theirs = runs("ours", 4, 3, 5, 4), runs("theirs", 4, 4, 2, 4)
    each = [x.mean() - y.mean() for x, y in zip(ours, theirs, strict=True)]
    found, wanted = contrast([ours, theirs], LESS), stats.ttest_1samp(each, 0.0)
    assert found.value == pytest.approx(np.mean(each))
    assert (found.freedom, found.over) == (3, "bases")
    assert found.p_value() == pytest.approx(wanted.pvalue)


def test_two_bases_by_hand():
    # Differences of .1 and .3: mean .2, s = .1 √2, error .1, t of one degree of freedom 12.706.
    found = contrast([[np.array([0.4]), np.array([0.6])], [np.array([0.3]), np.array([0.3])]], LESS)
    assert (found.value, found.error, found.freedom) == pytest.approx((0.2, 0.1, 1.0))
    interval = found.interval()
    assert (interval.low, interval.high) == pytest.approx((0.2 - 1.2706, 0.2 + 1.2706), abs=1e-4)


def test_over_seeds_what_bases_differ_by_is_left_out():
    ours = [np.array([0.5, 0.6]) + shift for shift in (0.0, 0.3)]
    theirs = [np.array([0.5, 0.6]) + shift for shift in (0.0, -0.1)]
    # s² = .005 pooled per arm; Σ over arms of .005 mean(1/2) / 2 = .0025.
    assert contrast([ours, theirs], LESS, over="seeds").error == pytest.approx(math.sqrt(0.0025))
    assert contrast([ours, theirs], LESS).error == pytest.approx(0.2)


def test_what_tasks_differ_by_is_no_spread():
    # Two bases in each of two tasks; differences .1 ± .02 in one and .5 ± .02 in the other.
    ours = [np.array([value]) for value in (0.08, 0.12, 0.48, 0.52)]
    found = contrast([ours, [np.zeros(1)] * 4], LESS, tasks=["a", "a", "b", "b"])
    assert found.value == pytest.approx(0.3)
    assert found.freedom == 2
    # s² = 4 (.02²) / 2, times Σ share² = 4 / 16.
    assert found.error == pytest.approx(math.sqrt(4 * 0.02**2 / 2 * 4 / 16))


def test_a_base_counts_once_however_many_seeds_it_has():
    found = contrast([[np.full(9, 0.1), np.full(1, 0.5)], [np.zeros(2), np.zeros(2)]], LESS)
    assert found.value == pytest.approx(0.3)


def test_three_arms_make_a_share_of_a_gain():
    arm, reference, oracle = runs("arm", 6), runs("reference", 6), runs("oracle", 6)
    shift = contrast([arm, reference, oracle], (1.0, -0.5, -0.5))
    assert shift.value == pytest.approx(
        arm[0].mean() - reference[0].mean() - 0.5 * (oracle[0].mean() - reference[0].mean())
    )
    assert shift.error**2 == pytest.approx(
        sum(w**2 * cell[0].var(ddof=1) / 6 for w, cell in zip((1, 0.5, 0.5), (arm, reference, oracle), strict=True))
    )


@pytest.mark.parametrize(
    "cells", [([np.array([0.3])], [np.array([0.1])]), ([np.full(5, 0.3)], [np.full(5, 0.1)])], ids=["one run", "equal"]
)
def test_a_spread_that_is_not_known_excludes_nothing(cells):
    found = contrast(cells, LESS)
    assert found.value == pytest.approx(0.2)
    assert (found.interval().low, found.interval().high) == (-math.inf, math.inf)
    assert (found.p_value(), found.p_above()) == (1.0, 1.0)


def test_an_arm_that_never_varies_is_compared_by_the_other_ones_spread():
    x = runs("ours", 6)[0]
    found = contrast([[x], [np.zeros(6)]], LESS)
    assert (found.error, found.freedom) == pytest.approx((x.std(ddof=1) / math.sqrt(6), 5.0))


@given(
    st.lists(st.integers(-40, 40), min_size=2, max_size=9),
    st.lists(st.integers(-40, 40), min_size=2, max_size=9),
    st.integers(-50, 50),
    st.integers(1, 9),
)
def test_contrasts_move_and_scale_with_the_scores(ours, theirs, shift, scale):
    x, y = np.array(ours) / 100, np.array(theirs) / 100
    plain = contrast([[x], [y]], LESS).interval()
    moved = contrast([[x * scale + shift], [y * scale]], LESS).interval()
    expected = [value * scale + shift for value in (plain.low, plain.estimate, plain.high)]
    assert [moved.low, moved.estimate, moved.high] == pytest.approx(expected, abs=1e-7)


def test_both_directions_agree():
    ours, theirs = runs("ours", 4, 4, 4), runs("theirs", 4, 4, 4)
    one, other = contrast([ours, theirs], LESS), contrast([theirs, ours], LESS)
    assert one.value == pytest.approx(-other.value)
    assert one.p_value() == pytest.approx(other.p_value())
    assert one.p_above() + other.p_above() == pytest.approx(1.0)


def test_arms_on_other_bases_are_refused():
    with pytest.raises(ValueError, match="on every base"):
        contrast([[np.ones(2)], [np.ones(2), np.ones(2)]], LESS)


def test_another_source_of_error_adds_its_variance():
    joint = Estimate(0.1, 0.03, 6.0).with_variance(0.04**2, 99.0)
    assert joint.error == pytest.approx(0.05)
    assert 6 < joint.freedom < 105


def test_problems_that_all_runs_agree_on_bring_their_own_variance():
    # Both arms are certain: the arm solves problems 1 and 2 of 4, the reference 2 and 3. d = 1 0 -1 0, s² = 2/3.
    arm = [np.tile([1.0, 1.0, 0.0, 0.0], (3, 1))]
    reference = [np.tile([0.0, 1.0, 1.0, 0.0], (3, 1))]
    variance, freedom = problem_variance([arm, reference], LESS)
    assert (variance, freedom) == pytest.approx((2 / 3 / 4, 3.0))


def test_problems_bring_no_variance_where_only_runs_do():
    rng = generator(1, "problems")
    arms = [[(rng.random((8, 400)) < 0.5).astype(float)] for _ in range(2)]
    assert problem_variance(arms, LESS)[0] < 0.1 * 2 * 0.25 / 8 / 400


def test_correlation_over_seeds_leaves_out_what_bases_add():
    seeds = runs("seeds", 6, 6)
    level = [0.0, 5.0]
    ours = [cell + base for cell, base in zip(seeds, level, strict=True)]
    assert correlation(ours, seeds) == (pytest.approx(1.0), 10)
    other = runs("other", 6, 6)
    assert abs(correlation([cell + base for cell, base in zip(other, level, strict=True)], ours)[0]) < 0.8


def test_runs_needed_follow_the_formula():
    # Two arms of 17: (2.037 + .853) sqrt(2/17) = .991 sd; of 16: 1.023.
    assert runs_needed(1.0, 1.0) == 17
    assert runs_needed(0.5, 1.0) == runs_needed(1.0, 2.0)
    assert runs_needed(1.0, 1.0, correlation=0.75) < 8


def test_bases_that_differ_too_much_cannot_be_made_up_for_by_seeds():
    with pytest.raises(ValueError, match="use more"):
        runs_needed(1.0, 1.0, bases=3, between=2.0)
    assert bases_needed(1.0, 1.0, seeds=4, between=2.0) > bases_needed(1.0, 1.0, seeds=4, between=0.0) > 3


@pytest.mark.parametrize("bases", [1, 4])
def test_the_numbers_needed_have_the_power_that_they_say(bases):
    effect = 1.2
    seeds = runs_needed(1.0, effect) if bases == 1 else 4
    count = 1 if bases == 1 else bases_needed(1.0, effect, seeds=4, between=0.0)
    hits = 0
    for trial in range(400):
        rng = generator(trial, "power", bases)
        ours = [rng.normal(effect, 1, seeds) for _ in range(count)]
        theirs = [rng.normal(0, 1, seeds) for _ in range(count)]
        hits += contrast([ours, theirs], LESS).p_value() <= 0.05
    assert 0.74 <= hits / 400 <= 0.9  # three binomial errors of 400 are .06; whole runs are rounded up
