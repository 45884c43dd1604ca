"""The rules of allocations against numbers on paper, and the greedy plan against every other plan."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from gainrl.allocation.coba import CoBAAllocation
from gainrl.allocation.fixed import FixedAllocation
from gainrl.allocation.greedy import greedy_counts
from gainrl.allocation.knapsack import KnapsackAllocation
from gainrl.allocation.speed import SPEEDAllocation
from gainrl.types import Prospects
from tests.curricula.simulated import group


def prospects(*rates: float, group_size: int = 4) -> Prospects:
    return Prospects(np.array(rates), group_size * len(rates), group_size)


def value(count: int, p: float) -> float:
    return (1 - p**count - (1 - p) ** count) * p * (1 - p) ** 2


def plans(prompts: int, budget: int, least: int, most: int):
    return (plan for plan in itertools.product(range(least, most + 1), repeat=prompts) if sum(plan) == budget)


def test_fixed_groups_have_one_size():
    assert FixedAllocation().plan(prospects(0.1, 0.9, 0.5)).tolist() == [4, 4, 4]
    assert FixedAllocation().more([group(0, 1, 4)], 0).tolist() == [0]


@pytest.mark.parametrize("rates", [(0.5, 0.1, 0.9), (0.02, 0.5, 0.5), (0.99, 0.97, 0.01)])
def test_no_plan_is_worth_more_than_that_of_the_knapsack(rates):
    found = KnapsackAllocation(least=2, most=8).plan(prospects(*rates))
    assert found.sum() == 12
    worth = [sum(map(value, plan, rates)) for plan in plans(3, 12, 2, 8)]
    assert sum(map(value, found, rates)) == pytest.approx(max(worth), abs=1e-12)


@pytest.mark.parametrize("rates", [(0.5, 0.1, 0.9), (0.02, 0.5, 0.5), (0.99, 0.9, 0.7)])
def test_no_plan_is_worth_more_than_that_of_coba(rates):
    failure = 1 - np.mean(rates)
    a = 1 + 9 * (failure if failure > 0.5 else 1 / (1 + np.exp(-10 * (failure - 0.5))))
    a = min(a, 10)

    def worth(plan) -> float:
        return sum((1 - p**n - (1 - p) ** n) * beta.pdf(p, a, 11 - a) for n, p in zip(plan, rates, strict=True))

    found = CoBAAllocation(least=2, most=8).plan(prospects(*rates))
    assert found.sum() == 12
    assert worth(found) == pytest.approx(max(map(worth, plans(3, 12, 2, 8))), abs=1e-12)


def test_a_hard_prompt_gets_more_than_an_easy_one_of_equal_variance():
    easy, hard = KnapsackAllocation().plan(prospects(0.9, 0.1, group_size=16)).tolist()
    # one correct in ten is worth .081, nine in ten .009: increments meet where .9^n .081 = .9^m .009, 20.9 apart
    assert (easy, hard) == (6, 26)


@pytest.mark.parametrize("allocation", [KnapsackAllocation(), CoBAAllocation(), KnapsackAllocation(least=1, most=4)])
@pytest.mark.parametrize("rate", [0.05, 0.5, 0.8])
def test_equal_prompts_get_equal_groups(allocation, rate):
    assert allocation.plan(prospects(*[rate] * 6)).tolist() == [4] * 6


@given(
    rates=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4),
    budget=st.integers(1, 12),
    least=st.integers(1, 3),
    room=st.integers(0, 6),
)
def test_counts_keep_to_range_and_budget_and_are_the_best(rates, budget, least, room):
    def gain(p: int, n: int) -> float:
        return rates[p] ** n * (1 - rates[p])

    if budget < len(rates):
        return
    found = greedy_counts(gain, len(rates), budget, least=least, most=least + room)
    low = min(least, budget // len(rates))
    assert found.min() >= low
    assert found.max() <= max(low, least + room)
    assert found.sum() == min(budget, len(rates) * max(low, least + room))

    def worth(plan) -> float:
        return sum(gain(p, n) for p, count in enumerate(plan) for n in range(low, count))

    other = plans(len(rates), int(found.sum()), low, max(low, least + room))
    assert worth(found) == pytest.approx(max(map(worth, other)), abs=1e-9)


def test_the_peak_of_coba_follows_the_failure_rate():
    coba = CoBAAllocation()
    assert coba.first_parameter(0.9) == pytest.approx(1 + 9 * 0.9)
    assert coba.first_parameter(0.3) == pytest.approx(1 + 9 / (1 + np.exp(2)))  # sigmoid(10 (.3 - .5))
    assert CoBAAllocation(slope=50.0).first_parameter(0.9) == 10
    # a policy that fails .775 on average: a = 7.975, peak at .775; of .6 and .05 the former is nearer
    weak = coba.plan(prospects(0.6, 0.05, 0.125, 0.125, group_size=8))
    assert weak.argmax() == 0
    # one that passes .775: a = 1 + 9 sigmoid(-2.75) = 1.54, peak at .06
    strong = coba.plan(prospects(0.4, 0.9, 0.9, 0.9, group_size=8))
    assert strong.argmax() == 0
    easy, hard = (coba.plan(prospects(0.95, 0.55, 0.95, 0.95, group_size=8))[place] for place in (0, 1))
    assert hard > easy


def test_speed_gives_the_rest_to_prompts_of_mixed_outcome():
    speed = SPEEDAllocation(screen=2, most=7)
    assert speed.plan(prospects(0.5, 0.5, 0.5, 0.5)).tolist() == [2, 2, 2, 2]
    screened = [group(0, 0, 2), group(1, 1, 2), group(2, 2, 2), group(3, 1, 2)]
    assert speed.more(screened, 8).tolist() == [0, 4, 0, 4]
    assert speed.more(screened, 7).tolist() == [0, 4, 0, 3]
    assert speed.more(screened, 99).tolist() == [0, 5, 0, 5]
    assert speed.more([group(0, 0, 2), group(1, 2, 2)], 4).tolist() == [0, 0]
    assert speed.more([group(0, 0, 2), group(1, 1, 6)], 4).tolist() == [0, 0]  # the second round has been


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: KnapsackAllocation(least=3, most=2), "allocation.least=3 and allocation.most=2"),
        (lambda: SPEEDAllocation(screen=1), "allocation.screen=1: one completion is never of mixed outcome"),
        (lambda: CoBAAllocation(lowest=6.0), "must lie between 0 and half of allocation.sharpness=11"),
        (lambda: CoBAAllocation(slope=-1.0), "allocation.slope=-1.0 must be 0 or more"),
    ],
)
def test_settings_out_of_range_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()
