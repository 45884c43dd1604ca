import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainrl.functional.rounding import ceil_product, ceil_quotient, floor_product, simplest_fraction


@pytest.mark.parametrize(("share", "kept"), [(0.55, 55), (0.28, 28), (0.07, 7), (0.555, 56), (1.0, 100), (1 / 3, 34)])
def test_a_share_of_a_hundred_is_rounded_up_from_what_was_typed(share, kept):
    assert ceil_product(share, 100) == kept


@pytest.mark.parametrize("step", [29, 57, 58])
def test_whole_parts_of_a_run_are_not_lost(step):
    assert math.floor(step / 100 * 100) == step - 1  # what a product of floats gives
    assert floor_product(step / 100, 100) == step


def test_a_quotient_is_rounded_up_from_what_was_typed():
    assert math.ceil(21 / 0.7) == 31
    assert ceil_quotient(21, 0.7) == 30


@given(part=st.integers(0, 9999), whole=st.integers(1, 9999), count=st.integers(0, 10**7))
def test_quotients_of_whole_numbers_come_back_exactly(part, whole, count):
    value = part / whole
    assert simplest_fraction(value) == Fraction(part, whole)
    assert floor_product(value, count) == part * count // whole
    assert ceil_product(value, count) == -(-part * count // whole)
    assert part == 0 or ceil_quotient(count, value) == -(-count * whole // part)
