import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainrl.functional import ranking
from gainrl.functional.ranking import KEEP, gaussian_draw, kept_part, rank_order, reversed_order
from gainrl.functional.streams import generator


def exact_inclusion(weights: np.ndarray, count: int) -> np.ndarray:
    """Probability of each item to be among ``count`` successive draws without replacement: sum over all sequences."""
    probability = np.zeros(len(weights))
    for sequence in itertools.permutations(range(len(weights)), count):
        chance, left = 1.0, weights.sum()
        for item in sequence:
            chance *= weights[item] / left
            left -= weights[item]
        probability[list(sequence)] += chance
    return probability


def frequencies(draw, size: int, repeats: int) -> np.ndarray:
    counts = np.zeros(size)
    for repeat in range(repeats):
        counts[draw(generator(0, "test", repeat))] += 1
    return counts / repeats


def test_rank_zero_is_the_end_to_learn_first():
    values = np.array([0.2, 0.9, 0.5])
    assert rank_order(values, "high", generator(0, "t")).tolist() == [1, 2, 0]
    assert rank_order(values, "low", generator(0, "t")).tolist() == [0, 2, 1]


def test_ties_follow_the_seed_and_missing_values_come_last():
    values = np.array([1.0, np.nan, 1.0, 1.0, 2.0])
    orders = {tuple(rank_order(values, "high", generator(seed, "t")).tolist()) for seed in range(50)}
    assert len(orders) == 6  # 3! ways to order the three equal values
    assert all(order[0] == 4 and order[-1] == 1 for order in orders)
    assert (
        rank_order(values, "high", generator(7, "t")).tolist() == rank_order(values, "high", generator(7, "t")).tolist()
    )


def test_from_its_other_end_an_order_still_ends_with_missing_values():
    values = np.array([3.0, np.nan, 1.0, 2.0, np.nan])
    order = rank_order(values, "high", generator(0, "t"))
    turned = reversed_order(order, values)
    assert order[:3].tolist() == [0, 3, 2]
    assert turned[:3].tolist() == [2, 3, 0]
    assert turned[3:].tolist() == order[3:].tolist()


@given(
    values=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan")]), min_size=1, max_size=12),
    keep=st.sampled_from(KEEP),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_a_part_is_of_the_size_asked_for_in_the_order_it_had_and_takes_missing_values_last(values, keep, seed, data):
    array = np.array(values)
    count = data.draw(st.integers(1, len(array)))
    order = rank_order(array, "high", generator(seed, "t"))
    part = kept_part(order, array, count, keep, generator(seed, "kept"))
    places = [order.tolist().index(row) for row in part]
    assert len(part) == count
    assert places == sorted(set(places))
    known = int((~np.isnan(array)).sum())
    assert np.isnan(array[part]).sum() == max(0, count - known)
    inside = places[: min(count, known)]
    if keep in ("easiest", "concentrated"):
        assert inside == list(range(len(inside)))
    elif keep in ("hardest", "spread"):
        assert inside == list(range(known - len(inside), known))
    elif keep == "middle":
        below, above = inside[0] if inside else 0, known - 1 - inside[-1] if inside else 0
        assert above - below in (0, 1)


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="keep='ends' names no part of the pool"):
        kept_part(np.arange(3), np.zeros(3), 1, "ends", generator(0, "t"))


def test_unknown_end_is_refused():
    with pytest.raises(ValueError, match="type 'high' or 'low'"):
        rank_order(np.zeros(2), "up", generator(0, "t"))


@pytest.mark.parametrize(("center", "width"), [(0.0, 1.5), (3.2, 0.8), (-4.0, 2.0), (9.0, 3.0)])
def test_inclusion_frequencies_are_those_of_successive_draws(center, width):
    expected = exact_inclusion(np.exp(-((np.arange(7) - center) ** 2) / (2 * width**2)), 3)
    observed = frequencies(lambda rng: gaussian_draw(7, 3, center, width, rng), 7, 8000)
    assert np.abs(observed - expected).max() < 5 * np.sqrt(0.25 / 8000)


def test_rejection_has_the_frequencies_of_the_race():
    center, width, blocked = 2.3, 1.7, np.array([3])
    weights = np.exp(-((np.arange(8) - center) ** 2) / (2 * width**2))
    expected = exact_inclusion(np.delete(weights, 3), 3)
    observed = frequencies(lambda rng: ranking._draw_by_rejection(0, 8, 3, center, width, rng, blocked), 8, 4000)
    assert observed[3] == 0
    assert np.abs(np.delete(observed, 3) - expected).max() < 5 * np.sqrt(0.25 / 4000)


def test_large_pool_has_the_moments_of_the_gaussian():
    size, width = 10_000_000, 1_330_000.0
    ranks = gaussian_draw(size, 4096, size / 2, width, generator(0, "t"))
    assert len(np.unique(ranks)) == 4096
    assert abs(ranks.mean() - size / 2) < 5 * width / 64
    assert abs(ranks.std() / width - 1) < 5 / np.sqrt(2 * 4096)


@pytest.mark.parametrize("center", [-1e9, 0.0, 37.5, 1e9, 1e300])
@pytest.mark.parametrize("width", [1e-3, 5.0, 1e12])
def test_any_center_and_width_draw_distinct_sorted_ranks(center, width):
    ranks = gaussian_draw(100, 40, center, width, generator(1, "t"))
    assert len(ranks) == 40
    assert (np.diff(ranks) > 0).all()
    assert ranks[0] >= 0
    assert ranks[-1] < 100


def test_a_narrow_window_far_outside_takes_the_nearest_end():
    assert gaussian_draw(1000, 5, 1e7, 1.0, generator(0, "t")).tolist() == [995, 996, 997, 998, 999]
    assert gaussian_draw(1000, 3, -1e7, 1.0, generator(0, "t"), exclude=[1]).tolist() == [0, 2, 3]


def test_window_leaves_out_only_ranks_that_weigh_nothing():
    size, count, center, width = 100_000, 8, 50_000.0, 20.0
    low, high = ranking._window(size, count, count, center, width)
    assert high - low < 1000
    log_weight = lambda rank: -((rank - center) ** 2) / (2 * width**2)  # noqa: E731
    outside = np.log(size) + max(log_weight(low - 1), log_weight(high))
    assert np.log(count) + outside - log_weight(center + count) <= -64 * np.log(2)


@given(
    st.integers(1, 60), st.data(), st.floats(-100, 200), st.floats(0.01, 100), st.sets(st.integers(0, 59), max_size=20)
)
def test_draws_are_distinct_and_avoid_the_excluded(size, data, center, width, exclude):
    left = size - len([rank for rank in exclude if rank < size])
    count = data.draw(st.integers(0, left))
    ranks = gaussian_draw(size, count, center, width, generator(0, "t"), sorted(exclude))
    assert len(set(ranks.tolist())) == count
    assert not set(ranks.tolist()) & exclude
    assert all(0 <= rank < size for rank in ranks)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 6, 0.0, 1.0), "6 distinct ranks"),
        ((5, 2, float("nan"), 1.0), "finite"),
        ((5, 2, 0.0, 0.0), "width positive"),
    ],
)
def test_impossible_draws_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        gaussian_draw(*arguments, generator(0, "t"))
