from itertools import count, repeat

from gainrl.datasets.levels import distinct


def test_the_first_of_equal_draws_stay_in_their_order():
    assert distinct(["b1", "a1", "b2", "c1", "d1"], 3, key=lambda item: item[0]) == ["b1", "a1", "c1"]


def test_draws_that_bring_nothing_new_end_after_a_while():
    assert distinct(repeat("a"), 2, key=str) == ["a"]
    assert distinct((number % 7 for number in count()), 9, key=int) == list(range(7))
