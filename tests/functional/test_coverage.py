"""The simulation behind docs/analysis.md, at a size that takes seconds: what intervals cover, how often tests err."""

import numpy as np
import pytest

from benchmarks.coverage import KINDS, coverage, draw, error_rates, estimates, percentile_coverage, power
from gainrl.functional.contrasts import contrast
from tests.composition import ROOT

LESS = (1.0, -1.0)


@pytest.mark.parametrize(("bases", "seeds"), [(1, 3), (1, 8), (4, 2), (3, 5)])
def test_what_is_simulated_is_what_reports_compute(bases, seeds):
    sides = [draw("skewed", (20, bases, seeds), spread=0.3, arm=arm, name="test") for arm in (True, False)]
    for over in ("bases", "seeds"):
        simulated = np.stack(estimates(*sides, over), axis=1)
        for row, ours, theirs in zip(simulated, *sides, strict=True):
            found = contrast([list(ours), list(theirs)], LESS, over=over)
            assert row == pytest.approx([found.value, found.error, found.freedom])


@pytest.mark.parametrize(("name", "shape"), [("1 x 3", (1, 3, 0.0)), ("4 x 4, 0.5", (4, 4, 0.5))])
def test_the_page_has_what_is_simulated(name, shape):
    bases, seeds, spread = shape
    page = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")
    cells = page.partition(f"| {name} | ")[2].partition("\n")[0].split(" | ")
    found = [coverage(kind, bases, seeds, spread=spread, trials=6000) for kind in KINDS]
    found.append(coverage("normal", bases, seeds, spread=spread, over="seeds", trials=6000))
    assert list(map(float, cells[:5])) == pytest.approx(found, abs=0.0011)
    rates = error_rates("tied", bases, seeds, spread=spread, trials=6000)
    cells = page.partition(f"| {name} | tied | ")[2].partition(" |\n")[0].split(" | ")
    assert list(map(float, cells)) == pytest.approx([100 * rate for rate in rates], abs=0.11)


# Three binomial standard errors of 4,000 trials at .95 are .010.


@pytest.mark.parametrize(("bases", "seeds", "spread"), [(1, 3, 0.0), (1, 10, 0.0), (4, 4, 0.0), (4, 4, 0.5)])
def test_intervals_of_normal_arms_cover_at_their_level(bases, seeds, spread):
    covered = coverage("normal", bases, seeds, spread=spread, trials=4000)
    assert 0.939 <= covered <= (0.975 if seeds == 3 else 0.961)  # Welch's test is wider than need be at three runs


@pytest.mark.parametrize("kind", ["skewed", "tied"])
def test_skewed_and_tied_arms_are_covered_as_well(kind):
    assert coverage(kind, 1, 10, trials=4000) >= 0.93


def test_intervals_over_seeds_alone_cover_too_little_where_bases_differ():
    assert coverage("normal", 3, 16, spread=0.5, trials=2000, over="seeds") < 0.8
    assert coverage("normal", 3, 16, spread=0.0, trials=2000, over="seeds") > 0.93


def test_a_percentile_bootstrap_of_three_seeds_covers_too_little():
    assert percentile_coverage(1, 3, spread=0.0, trials=200) < 0.88


@pytest.mark.parametrize(("bases", "seeds", "spread"), [(1, 10, 0.0), (4, 4, 0.5)])
def test_a_family_of_thirteen_errs_no_more_often_than_one_arm_may(bases, seeds, spread):
    one, some, below, any_below = error_rates("normal", bases, seeds, spread=spread, trials=1000)
    # Two sides at 5% and one at 2.5%, each over thirteen arms; three standard errors of 1,000 trials are .021 and .015.
    assert some <= 0.05 + 0.021
    assert any_below <= 0.025 + 0.015
    assert one == pytest.approx(0.05, abs=0.021)
    assert below == pytest.approx(0.025, abs=0.015)


@pytest.mark.parametrize(("kind", "seeds"), [("tied", 5), ("skewed", 8)])
def test_tied_and_skewed_arms_make_no_more_false_conclusions_than_their_level(kind, seeds):
    one, some, below, any_below = error_rates(kind, 1, seeds, trials=1000)
    assert max(one, some) <= 0.05 + 0.021
    assert max(below, any_below) <= 0.025 + 0.015


def test_an_arm_that_collapses_makes_more_of_them_as_the_page_says():
    assert error_rates("collapsing", 1, 10, trials=1000)[1] > 0.08


def test_four_bases_of_four_seeds_find_one_and_a_half_deviations():
    assert power("normal", 4, 4, 1.5, trials=4000) > 0.6
