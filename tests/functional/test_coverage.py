"""The simulation behind docs/analysis.md, at a size that takes seconds: what intervals cover, how often tests err."""

import pytest

from benchmarks.coverage import coverage, error_rates, percentile_coverage, power

# Three binomial standard errors of 400 trials at .95 are .033.


@pytest.mark.parametrize(("bases", "seeds", "spread"), [(1, 3, 0.0), (1, 10, 0.0), (4, 4, 0.0), (4, 4, 0.5)])
def test_intervals_of_normal_arms_cover_at_their_level(bases, seeds, spread):
    assert coverage("normal", bases, seeds, spread=spread, trials=400) == pytest.approx(0.95, abs=0.033)


@pytest.mark.parametrize("kind", ["skewed", "tied"])
def test_skewed_and_tied_arms_are_covered_as_well(kind):
    assert coverage(kind, 1, 10, trials=400) >= 0.92


def test_leaving_out_what_bases_differ_by_would_cover_too_little():
    # A percentile bootstrap of three seeds on one base, which such reports often have.
    assert percentile_coverage(1, 3, spread=0.0, trials=200) < 0.88


def test_a_family_of_thirteen_errs_no_more_often_than_one_arm_may():
    one, some, below, any_below = error_rates("normal", 1, 10, trials=80)
    # Two sides at 5% and one at 2.5%, each over thirteen arms; three standard errors of 80 trials are .07 and .05.
    assert some <= 0.05 + 0.07
    assert any_below <= 0.025 + 0.05
    assert one <= 0.05 + 0.07
    assert below <= 0.025 + 0.05


def test_four_bases_of_four_seeds_find_one_and_a_half_deviations():
    assert power("normal", 4, 4, 1.5, trials=150) > 0.6
