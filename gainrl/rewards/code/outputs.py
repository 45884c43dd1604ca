"""What a program printed against what it has to print: token by token, decimals within a tolerance.

1. White space separates tokens and means nothing else.
2. A token has to be the expected one, letter by letter, unless the expected one is written as a decimal (with a point
   or an exponent). Then any spelling of a number counts that lies within ``tolerance`` of it, absolutely or relative to
   its size: the usual rule of programming contests. An integer has to be an integer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

DEFAULT_TOLERANCE = 1e-6

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_LONGEST_NUMBER = 400  # characters: the decimal digits of every float, and more than any data set has


def accepted(printed: str, outputs: Sequence[str], tolerance: float) -> bool:
    """Whether a program printed one of ``outputs``."""
    tokens = printed.split()
    return any(_same(expected.split(), tokens, tolerance) for expected in outputs)


def _same(expected: list[str], printed: list[str], tolerance: float) -> bool:
    return len(expected) == len(printed) and all(
        wanted == token or _near(wanted, token, tolerance) for wanted, token in zip(expected, printed, strict=True)
    )


def _near(wanted: str, token: str, tolerance: float) -> bool:
    expected = _number(wanted)
    if expected is None or wanted.lstrip("+-").isdigit():
        return False
    value = _number(token)
    return value is not None and abs(value - expected) <= tolerance * max(1.0, abs(expected))


def _number(token: str) -> float | None:
    if len(token) > _LONGEST_NUMBER or not _NUMBER.fullmatch(token):
        return None
    value = float(token)
    return value if math.isfinite(value) else None
