"""The simulation behind docs/analysis.md, at a size that takes seconds: what intervals cover, how often tests err."""

import numpy as np
import pytest

from benchmarks.coverage import coverage, draw, error_rates, estimates, percentile_coverage, power
from gainrl.functional.contrasts import contrast

LESS = (1.0, -1.0)


@pytest.mark.parametrize(("bases", "seeds"), [(1, 3), (1, 8), (4, 2), (3, 5)])
def test_what_is_simulated_is_what_reports_compute(bases, seeds):
    sides = [draw("skewed", (20, bases, seeds), spread=0.3, arm=arm, name="test") for arm in (True, False)]
    simulated = np.stack(estimates(*sides), axis=1)
    for row, ours, theirs in zip(simulated, *sides, strict=True):
        found = contrast([list(ours), list(theirs)], LESS)
        assert row == pytest.approx([found.value, found.error, found.freedom])


# Three binomial standard errors of 4,000 trials at .95 are .010.


@pytest.mark.parametrize(("bases", "seeds", "spread"), [(1, 3, 0.0), (1, 10, 0.0), (4, 4, 0.0), (4, 4, 0.5)])
def test_intervals_of_normal_arms_cover_at_their_level(bases, seeds, spread):
    covered = coverage("normal", bases, seeds, spread=spread, trials=4000)
    assert 0.939 <= covered <= (0.975 if seeds == 3 else 0.961)  # Welch's test is wider than need be at three runs


@pytest.mark.parametrize("kind", ["skewed", "tied"])
def test_skewed_and_tied_arms_are_covered_as_well(kind):
    assert coverage(kind, 1, 10, trials=4000) >= 0.93


def test_leaving_out_what_bases_differ_by_would_cover_too_little():
    # A percentile bootstrap of three seeds on one base, which such reports often have.
    assert percentile_coverage(1, 3, spread=0.0, trials=200) < 0.88


def test_a_family_of_thirteen_errs_no_more_often_than_one_arm_may():
    one, some, below, any_below = error_rates("normal", 1, 10, trials=1000)
    # Two sides at 5% and one at 2.5%, each over thirteen arms; three standard errors of 1,000 trials are .021 and .015.
    assert some <= 0.05 + 0.021
    assert any_below <= 0.025 + 0.015
    assert one == pytest.approx(0.05, abs=0.021)
    assert below == pytest.approx(0.025, abs=0.015)


def test_four_bases_of_four_seeds_find_one_and_a_half_deviations():
    assert power("normal", 4, 4, 1.5, trials=4000) > 0.6
