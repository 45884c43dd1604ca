r"""Reads plain numbers as people and models write them: units, percent, currency, powers of ten, mixed numbers.

1. Units are dropped, not compared and not converted: the question names the unit, and spellings are endless.
   Words that scale a number (thousand, million, billion, trillion, dozen) are applied.
2. A percentage has two readings, p and p/100, since references for "what percent" are published either way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_NUMBER_CHARACTERS = 200
MAX_EXPONENT = 400

_DIGITS = r"[-+]?\s*(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_POWER_OF_TEN = r"(?:[eE]\s*([-+]?[0-9]+)|\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*(?:\{\s*([-+]?[0-9]+)\s*\}|([0-9])))"
_NUMBER = re.compile(rf"({_DIGITS}){_POWER_OF_TEN}?")
_MIXED = re.compile(
    r"([-+]?)\s*([0-9]+)(?:\s*\\frac\s*(?:\{\s*([0-9]+)\s*\}\s*\{\s*([0-9]+)\s*\}|([0-9])\s*([0-9]))"
    r"|\s+([0-9]+)\s*/\s*([0-9]+))"
)
_FRACTION = rf"\\frac\s*\{{({_DIGITS})\}}\s*\{{({_DIGITS})\}}|\\frac\s*([0-9])\s*([0-9])"
_RATIO = re.compile(rf"([-+]?)\s*(?:{_FRACTION})|()({_DIGITS})\s*/\s*({_DIGITS})")
_REPEATING = re.compile(r"([-+]?)([0-9]*)\.([0-9]*)\\overline\s*\{?\s*([0-9]+)\s*\}?")
_UNIT_POWER = r"(?:\s*\^\s*(?:\{\s*-?[0-9]+\s*\}|-?[0-9]))?"
_UNIT_TEXT = rf"(?:\s*\\(?:text|mathrm|mbox|textrm|textbf|rm)\s*\{{[^{{}}]*\}}{_UNIT_POWER})+"
_DEGREES = r"\s*\^\s*\{?\s*\\(?:circ|degree)\s*\}?(?:\s*(?:[CFK]|\\(?:text|mathrm|mbox|textrm|rm)\s*\{\s*[CFK]\s*\}))?"
# After a number a single letter is a unit only if it is the sign of one: "5 m" has a unit, "5 x" has not.
_UNIT_WORDS = r"(?:\s+(?:[A-Za-z]{2,}[A-Za-z .]*|[mgshLNJWVAKCF])|\s*(?:[mck]m|[mk]g|m[lL]|ft))(?:\s*/\s*[A-Za-z]+)?"
_UNIT = re.compile(rf"(?:{_UNIT_TEXT}|{_DEGREES}|{_UNIT_WORDS}{_UNIT_POWER})\s*$")
_UNIT_OF_EXPRESSION = re.compile(rf"(?<=[0-9}}])(?:{_UNIT_TEXT}|\s+[A-Za-z]{{2,}}{_UNIT_POWER})\s*$")
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_SCALE_WORD = re.compile(rf"\b({'|'.join(_SCALES)})s?\b", re.IGNORECASE)
_ORDINAL = re.compile(r"(?<=[0-9])\s*(?:\^\s*\{?\s*)?(?:\\(?:text|mathrm|mbox)\s*\{\s*)?(?:st|nd|rd|th)\s*\}{0,2}$")
_CURRENCY_BEFORE = re.compile(
    r"(?:\\(?:text|mathrm|mbox|textrm|rm)\s*\{\s*)?\b(?:USD|EUR|GBP|JPY|CNY|INR|CAD|AUD|CHF|US(?=\s*\\?\$))(?![A-Za-z])\s*\}?\s*"
    r"(?=[-+\\$.0-9])"
)
_PERCENT = re.compile(r"\s*(?:\\?%|\\text\{\s*percent\s*\}|percent)\s*$")


@dataclass(frozen=True, slots=True)
class PlainNumber:
    """A number as written: its value, whether it was written as a decimal, and whether a percent sign followed it."""

    value: Fraction
    decimal: bool
    percent: bool = False

    @property
    def readings(self) -> tuple[Fraction, ...]:
        return (self.value, self.value / 100) if self.percent else (self.value,)


def read_number(text: str) -> PlainNumber | None:
    """The number that a cleaned text spells out, or None if it is anything else.

    Reads integers, decimals (repeating ones too), powers of ten and simple fractions, with a currency sign before and
    a unit after.
    """
    if len(text) > MAX_NUMBER_CHARACTERS:
        return None
    if currency := _CURRENCY_BEFORE.match(text):
        text = text[currency.end() :]
    text = re.sub(r"^([-+]?)\s*\\?[$€£¥]\s*", r"\1", text)
    text = _ORDINAL.sub("", text)
    bare = _PERCENT.sub("", text)
    percent = bare != text
    unit = _UNIT.search(bare)
    scale = 1
    if unit is not None and bare[: unit.start()].strip():
        for word in _SCALE_WORD.findall(unit.group()):
            scale *= _SCALES[word.lower()]
        bare = bare[: unit.start()]
    bare = bare.strip()
    number = _NUMBER.fullmatch(bare)
    if number is not None:
        exponent = next((int(power) for power in number.groups()[1:] if power), 0)
        if abs(exponent) > MAX_EXPONENT:
            return None
        value = Fraction(number.group(1).replace(" ", "")) * Fraction(10) ** exponent * scale
        return PlainNumber(value, decimal="." in bare or exponent < 0, percent=percent)
    repeating = _REPEATING.fullmatch(bare)
    if repeating is not None:
        sign, whole_digits, fixed, period = repeating.groups()
        digits = Fraction(int(whole_digits + fixed or "0")) + Fraction(int(period), 10 ** len(period) - 1)
        value = digits / 10 ** len(fixed) * scale
        return PlainNumber(-value if sign == "-" else value, decimal=False, percent=percent)
    mixed = _MIXED.fullmatch(bare)
    ratio = mixed or _RATIO.fullmatch(bare)
    if ratio is None:
        return None
    parts = [Fraction(part.replace(" ", "")) for part in ratio.groups()[1:] if part]
    whole = parts.pop(0) if mixed else Fraction(0)
    numerator, denominator = parts
    if denominator == 0 or (mixed and "/" in mixed.group() and numerator >= denominator):
        return None
    sign = -1 if ratio.group(1) == "-" else 1
    return PlainNumber(sign * (whole + numerator / denominator) * scale, decimal=False, percent=percent)


def drop_unit(text: str) -> str:
    """The text without a unit written in words after a digit or a closing brace; a single letter is a variable."""
    return _UNIT_OF_EXPRESSION.sub("", text)


def same_number(answer: PlainNumber, reference: PlainNumber, tolerance: float | None = None) -> bool:
    """Whether two numbers agree under any of their readings; two percentages agree in their numbers.

    Exact spellings (integers, fractions) agree only if equal. Where either is a decimal they may differ by less than
    ``1e-6 * min(1, 10 |reference|)``: six decimal places, and five significant digits for small references.
    ``tolerance`` is a published absolute tolerance and replaces this rule.
    """
    both = answer.percent and reference.percent
    for value in (answer.value,) if both else answer.readings:
        for expected in (reference.value,) if both else reference.readings:
            difference = abs(value - expected)
            if tolerance is not None:
                agrees = difference <= Fraction(tolerance)
            elif answer.decimal or reference.decimal:
                agrees = difference == 0 or difference < min(Fraction(1), 10 * abs(expected)) / 10**6
            else:
                agrees = difference == 0
            if agrees:
                return True
    return False


_FAST = re.compile(r"(?:[-+]?[0-9]{1,15}|-?[0-9]{1,3}(?:,[0-9]{3}){1,4})(?:\.[0-9]{1,6})?")


def fast_number(text: str) -> Fraction | None:
    r"""The value of a plain integer or decimal of at most 15 digits and 6 decimal places, or None.

    On such numbers sympy's floats are exact to the last place and math-verify's rounding to six places changes
    nothing, so that equality of values is math-verify's verdict, without asking it.
    """
    text = text.strip()
    if text.startswith((r"\$", "$")):
        text = text.lstrip("\\$")
    if len(text) > 24 or _FAST.fullmatch(text) is None:
        return None
    digits = text.replace(",", "")
    return Fraction(digits) if sum(character.isdigit() for character in digits) <= 15 else None
