r"""Quantities of several parts: ``7 minutes and 5 seconds``, times of day, ratios, numbers with a base."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from gainrl.rewards.numerals import read_number
from gainrl.rewards.vocabulary import CARDINALS, Dimensions

_PART = re.compile(
    r"(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:\s*/\s*[0-9]+)?|\\frac\{[0-9]+\}\{[0-9]+\})\s*"
    r"(?P<unit>\\text\s*\{\s*[A-Za-z.]+\s*\}|[A-Za-z]+\.?|\^\\circ|\\?\$)\s*"
    r"(?P<sign>\+(?=\s*[0-9\\]))?\s*(?:(?:,|\\text\s*\{\s*,?\s*(?:and)?\s*\}|and(?![A-Za-z]))\s*)*"
)
_INSIDE_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_CLOCK = re.compile(
    r"([01]?[0-9]|2[0-4])(?:\s*[:.]\s*([0-5][0-9]))?(?:\s*:\s*([0-5][0-9]))?\s*(a\.?\s?m\.?|p\.?\s?m\.?|o'?clock|noon|midnight)?",
    re.IGNORECASE,
)
_DAY = 24 * 3600
_BASED = re.compile(r"\(?(-?[0-9A-Za-z]+)\)?\s*_\s*\{?\s*\(?\s*(?:base\s*)?([0-9]+|[a-z]+)\s*\)?\s*\}?")
_BASE_IN_WORDS = re.compile(r"(-?[0-9A-Za-z]+)\s*\(?(?:in\s+)?base[\s-]*([0-9]+|[a-z]+)\)?")
_TO = re.compile(r"\s*\\text\s*\{\s*to\s*\}\s*|\s+to\s+|\s*:\s*")
_COLON_WORDS = re.compile(r"[A-Za-z]{3}")


@dataclass(frozen=True, slots=True)
class Quantity:
    """The sum of several parts, in the base unit of its dimension."""

    total: Fraction
    dimensions: Dimensions


def read_quantity(text: str) -> Quantity | None:
    """A quantity of several parts with units of one dimension, each smaller than the one before or added by a sign."""
    plain = _INSIDE_TEXT.sub(r" \1 ", text).strip()
    place, total, sizes, dimensions, added = 0, Fraction(0), list[Fraction](), None, False
    while place < len(plain):
        part = _PART.match(plain, place)
        if part is None:
            return None
        number = read_number(f"{part['number']} {part['unit']}")
        if number is None or number.unit is None or number.unit.dimensions is None:
            return None
        if dimensions not in (None, number.unit.dimensions) or (sizes and number.unit.size >= sizes[-1] and not added):
            return None
        dimensions = number.unit.dimensions
        total += number.value * number.unit.size
        sizes.append(number.unit.size)
        place, added = part.end(), part["sign"] is not None
    return Quantity(total, dimensions) if dimensions is not None and len(sizes) > 1 else None


def same_quantity(answer: str, reference: str) -> bool | None:
    """Whether two texts are the same quantity; None where neither consists of several parts."""
    given, expected = read_quantity(answer), read_quantity(reference)
    if given is None and expected is None:
        return None
    given, expected = given or _single(answer), expected or _single(reference)
    return given is not None and given == expected


def _single(text: str) -> Quantity | None:
    number = read_number(text)
    if number is None or number.unit is None or number.unit.dimensions is None:
        return None
    return Quantity(number.value * number.unit.size, number.unit.dimensions)


def read_clock(text: str) -> frozenset[int] | None:
    """The seconds since midnight that a time of day may mean: two where a.m. or p.m. is left out."""
    match = _CLOCK.fullmatch(_INSIDE_TEXT.sub(r"\1", text).replace("{", "").replace("}", "").strip())
    if match is None or (match[2] is None and match[4] is None):
        return None
    hour, half = int(match[1]), (match[4] or "")[:1].lower()
    seconds = 60 * int(match[2] or 0) + int(match[3] or 0)
    if half in ("a", "p", "n", "m") and not 1 <= hour <= 12:
        return None
    hours = {hour % 12 + 12 * (half in ("p", "n"))} if half and half != "o" else {hour % 24}
    if (not half or half == "o") and 1 <= hour <= 12:
        hours = {hour % 12, hour % 12 + 12}
    return frozenset((3600 * each + seconds) % _DAY for each in hours)


def same_clock(answer: str, reference: str) -> bool | None:
    """Whether two times of day agree; None unless both are times."""
    expected = read_clock(reference)
    given = read_clock(answer) if expected else None
    return None if given is None or expected is None else bool(given & expected)


def read_ratio(text: str) -> list[str] | None:
    """The parts of a ratio, ``1:2`` or ``1 to 2``; None where a text is not a ratio."""
    parts = _TO.split(text)
    if (
        len(parts) < 2
        or not all(parts)
        or any(sum(map(part.count, "({[")) != sum(map(part.count, ")}]")) for part in parts)
    ):
        return None
    return (
        None
        if any(
            _COLON_WORDS.search(_INSIDE_TEXT.sub("", part.replace("\\", " \\"))) and "\\" not in part for part in parts
        )
        else parts
    )


def same_ratio(answer: list[str], reference: list[str]) -> bool | None:
    """Whether two ratios of plain numbers are proportional; None where a part is not a plain number."""
    if len(answer) != len(reference):
        return False
    pairs = [(read_number(one), read_number(other)) for one, other in zip(answer, reference, strict=True)]
    values = [(one.value, other.value) for one, other in pairs if one is not None and other is not None]
    if len(values) < len(pairs):
        return None
    first, expected = values[0]
    return all(one * expected == other * first for one, other in values) and (first != 0) == (expected != 0)


def read_based(text: str) -> tuple[str, int] | None:
    """The digits and the base of a number such as ``1010_2`` or ``1010 (base two)``."""
    text = _INSIDE_TEXT.sub(r" \1 ", text).strip()
    match = _BASED.fullmatch(text) or _BASE_IN_WORDS.fullmatch(text)
    if match is None:
        return None
    base = int(match[2]) if match[2].isdigit() else CARDINALS.get(match[2])
    digits = match[1].upper()
    bare = digits.lstrip("-")
    if base is None or not 2 <= base <= 36 or not any(digit.isdigit() for digit in bare):
        return None
    if not bare.isdigit() and any(int(digit, 36) >= base for digit in bare):
        return None
    return digits.lstrip("0") or "0", base


def same_based(answer: str, reference: str) -> bool | None:
    """Whether two numbers with their bases agree, digits and base; None where neither has one.

    The base may be left out, and then the digits must agree.
    """
    given, expected = read_based(answer), read_based(reference)
    if given is not None and expected is not None:
        return given == expected
    if given is None and expected is None:
        return None
    digits, other = (given, reference) if given is not None else (expected, answer)
    assert digits is not None
    return digits[0] == (other.strip().upper().lstrip("0") or "0") if other.strip().isalnum() else None
