"""pass@k, maj@k and intervals against enumeration; coverage of the intervals on binomial data."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainrl.functional.evaluation import average_at_k, bootstrap_interval, majority_at_k, pass_at_k
from gainrl.functional.streams import generator


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_completion(n):
    rows = np.array([[1] * c + [0] * (n - c) for c in range(n + 1)])
    for k in range(1, n + 1):
        want = [np.mean([any(subset) for subset in itertools.combinations(row, k)]) for row in rows]
        np.testing.assert_allclose(pass_at_k(rows, k), want, rtol=0, atol=1e-12)


@given(st.integers(1, 3000), st.data())
def test_pass_at_k_stays_exact_where_binomials_are_astronomic(n, data):
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    exact = 1 - Fraction(comb(n - c, k), comb(n, k))
    assert pass_at_k(np.array([[1] * c + [0] * (n - c)]), k)[0] == pytest.approx(float(exact), abs=1e-10)


def test_pass_at_one_is_the_average():
    rows = np.array([[1, 0, 0, 1], [0, 0, 0, 0]])
    np.testing.assert_allclose(pass_at_k(rows, 1), average_at_k(rows))
    assert average_at_k(rows).tolist() == [0.5, 0.0]


@pytest.mark.parametrize("k", [0, 5])
def test_k_beyond_the_completions_is_refused(k):
    with pytest.raises(ValueError, match="at most the 4 completions"):
        pass_at_k(np.zeros((2, 4)), k)


@pytest.mark.parametrize("outcomes", [np.array([[0.5]]), np.array([[2.0]]), np.array([1.0]), np.zeros((2, 0))])
def test_what_is_no_outcome_is_refused(outcomes):
    with pytest.raises(ValueError, match="outcomes must"):
        average_at_k(outcomes)


@pytest.mark.parametrize(
    ("answers", "correct", "share"),
    [
        (["7", "7", "8"], [True, True, False], 1.0),
        (["7", "8", "8"], [True, False, False], 0.0),
        (["7", "8"], [True, False], 0.5),
        (["7", "8", "9"], [True, False, False], 1 / 3),
        ([None, None, "7"], [False, False, True], 1.0),
        ([None, None], [False, False], 0.0),
        (["7", "8", "8", "7", "9"], [True, False, False, True, False], 0.5),
    ],
)
def test_majority_vote_with_ties_broken_evenly(answers, correct, share):
    assert majority_at_k(answers, correct) == pytest.approx(share)


def test_only_the_first_k_completions_vote():
    assert majority_at_k(["8", "7", "7"], [False, True, True], k=1) == 0.0


@given(st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_majority_equals_the_average_over_random_choices_among_the_leaders(answers, random):
    counts = {a: answers.count(a) for a in answers if a is not None}
    leaders = [a for a, n in counts.items() if n == max(counts.values())]
    want = sum(a == "1" for a in leaders) / len(leaders) if leaders else 0.0
    shuffled = random.sample(answers, len(answers))
    assert majority_at_k(shuffled, [a == "1" for a in shuffled]) == pytest.approx(want)


def test_majority_input_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="as many"):
        majority_at_k(["1"], [])
    with pytest.raises(ValueError, match="at most the 1 completions"):
        majority_at_k(["1"], [True], k=2)


def test_the_interval_of_two_problems_is_that_of_all_their_resamples():
    # Resampled means are 0, 1/2 and 1 with chances 1/4, 1/2 and 1/4.
    interval = bootstrap_interval(np.array([0.0, 1.0]), seed=1, level=0.95)
    assert (interval.estimate, interval.low, interval.high) == (0.5, 0.0, 1.0)
    middle = bootstrap_interval(np.array([0.0, 1.0]), seed=1, level=0.4)
    assert (middle.low, middle.high) == (0.5, 0.5)


def test_the_interval_depends_on_seed_and_values_only():
    values = generator(0, "values").random(50)
    first = bootstrap_interval(values, seed=3)
    np.random.default_rng(0).random(10)
    assert bootstrap_interval(values, seed=3) == first
    assert bootstrap_interval(values, seed=4) != first
    assert first.low < first.estimate < first.high


def test_equal_values_give_an_interval_without_width():
    interval = bootstrap_interval(np.full(5, 0.25), seed=0)
    assert (interval.low, interval.high) == (0.25, 0.25)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for trial in range(300):
        values = generator(trial, "coverage").binomial(8, 0.4, size=60) / 8
        interval = bootstrap_interval(values, seed=trial, resamples=400)
        covered += interval.low <= 0.4 <= interval.high
    # 95% nominal; three standard errors of the count at 300 trials are 4 points, the bootstrap's own error about 1.
    assert 0.90 <= covered / 300 <= 0.985


@pytest.mark.parametrize(
    ("values", "options"),
    [([], {}), ([float("nan")], {}), ([[1.0]], {}), ([1.0], {"level": 1.0}), ([1.0], {"resamples": 0})],
)
def test_an_interval_that_has_no_meaning_is_refused(values, options):
    with pytest.raises(ValueError, match=r"finite number|between 0 and 1|at least 1"):
        bootstrap_interval(np.array(values), seed=0, **options)
