"""Products and quotients of a decimal and a whole number, rounded to whole numbers without a float in between.

``0.55 * 100`` is 55.00000000000001 in floats, so that its ceiling is 56; and ``29 / 100 * 100`` falls short of 29.
"""

from __future__ import annotations

import math
from fractions import Fraction

_LARGEST_DENOMINATOR = 10**9


def simplest_fraction(value: float) -> Fraction:
    """The fraction that ``value`` stands for: 11/20 for 0.55, 29/100 for ``29 / 100``.

    Exact for quotients of whole numbers and for decimals wherever the denominator is below ten million, since two such
    fractions lie further apart than a float rounds. Larger denominators are approximated to 1e-16.
    """
    return Fraction(value).limit_denominator(_LARGEST_DENOMINATOR)


def ceil_product(value: float, count: int) -> int:
    """The smallest whole number not below ``value * count``."""
    return math.ceil(simplest_fraction(value) * count)


def floor_product(value: float, count: int) -> int:
    """The largest whole number not above ``value * count``."""
    return math.floor(simplest_fraction(value) * count)


def ceil_quotient(count: int, value: float) -> int:
    """The smallest whole number not below ``count / value``. Raises ZeroDivisionError for ``value`` = 0."""
    return math.ceil(count / simplest_fraction(value))
