import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from gainrl.functional.association import average_ranks, matched_percentile, order_agreement, rank_residual, spearman

numbers = st.lists(st.integers(0, 6).map(float), min_size=4, max_size=30)


@given(numbers)
def test_ranks_share_ties_as_the_reference_does(values):
    np.testing.assert_allclose(average_ranks(np.array(values)), scipy.stats.rankdata(values))


def test_missing_numbers_have_no_rank():
    np.testing.assert_array_equal(average_ranks(np.array([3.0, np.nan, 1.0, 3.0])), [2.5, np.nan, 1.0, 2.5])


@given(numbers, st.integers(0, 2**31))
@settings(deadline=None)
def test_spearman_equals_the_reference(x, seed):
    y = np.random.default_rng(seed).integers(0, 5, len(x)).astype(float)
    if len(set(x)) > 1 and len(set(y)) > 1:
        assert spearman(np.array(x), y).value == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-9)


def test_missing_pairs_are_left_out():
    x = np.array([1.0, 2.0, np.nan, 4.0, 5.0])
    y = np.array([1.0, 3.0, 9.0, np.nan, 2.0])
    found = spearman(x, y)
    assert (found.value, found.count) == (pytest.approx(0.5), 3)


def test_within_levels_a_difference_between_levels_counts_nothing():
    """Within each level the signals run opposite ways; between levels they rise together."""
    levels = np.repeat([1, 2, 3], 4)
    x = np.concatenate([level * 10 + np.arange(4.0) for level in (1, 2, 3)])
    y = np.concatenate([level * 10 - np.arange(4.0) for level in (1, 2, 3)])
    assert spearman(x, y).value > 0.5
    assert spearman(x, y, groups=levels).value == pytest.approx(-1.0)


def test_levels_count_by_their_size():
    # Four problems that agree perfectly and three that disagree perfectly: (4 - 3) / 7.
    x = np.array([1, 2, 3, 4, 1, 2, 3.0])
    y = np.array([1, 2, 3, 4, 3, 2, 1.0])
    assert spearman(x, y, groups=np.array([0] * 4 + [1] * 3)).value == pytest.approx(1 / 7)


def test_regressing_out_length_removes_what_length_alone_explains():
    generator = np.random.default_rng(0)
    length = generator.permutation(2000).astype(float)
    x, y = length + generator.normal(0, 400, 2000), length + generator.normal(0, 400, 2000)
    assert spearman(x, y).value > 0.6
    assert abs(spearman(x, y, covariate=length).value) < 0.06


def test_residuals_do_not_correlate_with_the_ranks_of_the_covariate():
    x, length = np.random.default_rng(1).normal(size=(2, 50))
    residual = rank_residual(x, length)
    assert residual.mean() == pytest.approx(0.0, abs=1e-9)
    assert np.dot(residual, average_ranks(length) - 25.5) == pytest.approx(0.0, abs=1e-7)
    with pytest.raises(ValueError, match="one covariate per value"):
        rank_residual(x, length[1:])


def test_the_interval_is_that_of_the_normal_approximation():
    generator = np.random.default_rng(3)
    x = generator.normal(size=500)
    y = 0.5 * x + generator.normal(size=500)
    found = spearman(x, y, generator=np.random.default_rng(4), resamples=2000)
    assert found.low < found.value < found.high
    # Standard error of a correlation of 0.4 at n = 500, Fisher: (1 - r^2) / sqrt(n).
    expected = 2 * 1.96 * (1 - found.value**2) / np.sqrt(500)
    assert found.high - found.low == pytest.approx(expected, rel=0.15)


def test_constant_or_missing_signals_have_no_correlation():
    for x in (np.ones(5), np.full(5, np.nan), np.array([])):
        found = spearman(x, np.arange(float(len(x))), generator=np.random.default_rng(0))
        assert np.isnan([found.value, found.low, found.high]).all()
        assert found.count == 0


def test_an_order_by_the_key_agrees_fully_and_its_reverse_not_at_all():
    key = np.arange(100.0)
    assert order_agreement(np.arange(100.0), key) == (1.0, 1.0)
    assert order_agreement(np.arange(100.0)[::-1], key) == (0.0, 0.0)
    position = np.arange(100.0)
    position[:2] = np.nan
    assert order_agreement(position, key) == (1.0, 1.0)


def test_a_matched_percentile_is_the_place_among_values_of_the_same_stratum():
    """Two strata of the covariate: the rows 0, 2, 4 below and 1, 3, 5 above its median."""
    values = np.array([30.0, 1.0, 10.0, 3.0, 20.0, 2.0])
    covariate = np.array([1.0, 9.0, 2.0, 8.0, 3.0, 7.0])
    expected = [5 / 6, 1 / 6, 1 / 6, 5 / 6, 3 / 6, 3 / 6]
    np.testing.assert_allclose(matched_percentile(values, [covariate], 2), expected)
    np.testing.assert_allclose(matched_percentile(values, [], 1), (average_ranks(values) - 0.5) / 6)
    np.testing.assert_allclose(
        matched_percentile([1, 2, np.nan, 2], [[5, 5, 5, np.nan]], 3), [0.25, 0.75, *[np.nan] * 2]
    )
    with pytest.raises(ValueError, match=r"signal\.strata=5"):
        matched_percentile(values, [covariate], 0)
    with pytest.raises(ValueError, match="one number per value"):
        matched_percentile(values, [covariate[1:]], 2)


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(0, 2))
def test_both_ends_of_a_matched_percentile_have_the_same_strata(seed, strata, covariates):
    rng = np.random.default_rng(seed)
    values, others = rng.normal(size=80), [rng.normal(size=80) for _ in range(covariates)]
    percentile = matched_percentile(values, others, strata)
    parts = [np.ceil(average_ranks(other) * strata / 80) for other in others]
    for stratum in {tuple(part[row] for part in parts) for row in range(80)}:
        members = [row for row in range(80) if tuple(part[row] for part in parts) == stratum]
        assert (percentile[members] < 0.3).sum() == (percentile[members] > 0.7).sum()
        assert sorted(members, key=lambda row: values[row]) == sorted(members, key=lambda row: percentile[row])
