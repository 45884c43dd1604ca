r"""Reads plain numbers as people and models write them: units, percent, currency, powers of ten, words, mixed numbers.

1. A unit is read by `units` and may be missing on either side. Where both sides have a unit of known size, the values
   are compared in one unit: 5 m is 500 cm, and is not 5 cm.
2. Words that scale a number (thousand, million, dozen, hundredths) are applied.
3. A percentage has two readings, p and p/100, since references for "what percent" are published either way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from gainrl.rewards.units import Unit, read_unit, size_ratio, split_unit
from gainrl.rewards.vocabulary import CARDINALS, SCALES

MAX_NUMBER_CHARACTERS = 200
MAX_EXPONENT = 400

_DIGITS = r"[-+]?\s*(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_POWER_OF_TEN = r"(?:[eE]\s*([-+]?[0-9]+)|\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*(?:\{\s*([-+]?[0-9]+)\s*\}|([0-9])))"
_NUMBER = re.compile(rf"({_DIGITS}){_POWER_OF_TEN}?")
_MIXED = re.compile(
    r"([-+]?)\s*([0-9]+)(?:\s*\\frac\s*\{\s*([0-9]+)\s*\}\s*\{\s*([0-9]+)\s*\}|(?:\s+and)?\s+([0-9]+)\s*/\s*([0-9]+))"
)
_RATIO = re.compile(
    rf"([-+]?)\s*(?:\\frac\s*\{{({_DIGITS})\}}\s*\{{({_DIGITS})\}})|([-+]?)\s*({_DIGITS})\s*/\s*({_DIGITS})"
)
_REPEATING = re.compile(r"([-+]?)\s*([0-9]*)\.([0-9]*)(?:\\overline\s*\{\s*([0-9]+)\s*\}|\(([0-9]+)\))")
_DOTS = re.compile(r"([-+]?\s*[0-9]*\.[0-9]+)\s*(?:\.\.\.|\\ldots|…)")
_BARE = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")
_ORDINAL = re.compile(r"(?<=[0-9])\s*(?:\^\s*\{?\s*)?(?:\\text\s*\{\s*)?(?:st|nd|rd|th)\s*\}{0,2}$")
_CURRENCY = r"(?:(?:US|HK|NT|C|A|S|NZ|CA|AU)?\s*\\?[$€£¥₹¢]|USD|EUR|GBP|JPY|CNY|INR|CAD|AUD|CHF|RMB|Rs\.?)"
_CURRENCY_BEFORE = re.compile(rf"([-+]?)\s*(?:\\text\s*\{{\s*)?({_CURRENCY})\s*\}}?\s*(?=[-+\\.0-9])")
_PERCENT = re.compile(r"\s*(?:\\?%|\\text\{\s*percent\s*\}|percent)\s*$")
_SIGN_WORD = re.compile(r"(?:\\text\s*\{\s*(negative|minus)\s*\}|(negative|minus)\s)\s*(?=[0-9.\\])", re.IGNORECASE)
_WORDS = re.compile(r"(?:\\text\s*\{\s*([A-Za-z][A-Za-z -]*)\s*\}|([A-Za-z][A-Za-z -]*))")


@dataclass(frozen=True, slots=True)
class PlainNumber:
    """A number as written: its value, whether it was written as a decimal or with a percent sign, and its unit."""

    value: Fraction
    decimal: bool
    percent: bool = False
    unit: Unit | None = None

    @property
    def readings(self) -> tuple[Fraction, ...]:
        return (self.value, self.value / 100) if self.percent else (self.value,)


@lru_cache(maxsize=8192)
def read_number(text: str, is_reference: bool = False) -> PlainNumber | None:
    """The number that a cleaned text spells out, or None if it is anything else.

    Reads integers, decimals (repeating ones too), powers of ten, simple fractions and number words, with a currency
    sign before and a unit after. ``is_reference``: a plain letter after the number is a variable, never a unit.
    """
    if len(text) > MAX_NUMBER_CHARACTERS:
        return None
    if _BARE.fullmatch(text):
        return PlainNumber(Fraction(text), decimal="." in text)
    text = _SIGN_WORD.sub("-", text, count=1) if _SIGN_WORD.match(text) else text
    unit = None
    if currency := _CURRENCY_BEFORE.match(text):
        text = currency[1] + text[currency.end() :]
        unit = read_unit(currency[2])
    reading = _read_value(_PERCENT.sub("", _ORDINAL.sub("", text)))
    if reading is not None:
        return PlainNumber(*reading, percent=bool(_PERCENT.search(text)), unit=unit)
    head, tail = split_unit(text)
    if tail is None or (is_reference and tail.ambiguous):
        return None
    bare = _PERCENT.sub("", head)
    reading = _read_value(bare)
    if reading is None:
        return None
    value, decimal = reading
    return PlainNumber(value * tail.factor, decimal, percent=bare != head, unit=unit or tail)


def _read_value(text: str) -> tuple[Fraction, bool] | None:
    """The value of a number without unit, and whether it is a decimal."""
    text = text.strip()
    if number := _NUMBER.fullmatch(text):
        exponent = next((int(power) for power in number.groups()[1:] if power), 0)
        if abs(exponent) > MAX_EXPONENT:
            return None
        value = Fraction(number.group(1).replace(" ", "")) * Fraction(10) ** exponent
        return value, "." in text or exponent < 0
    if repeating := _REPEATING.fullmatch(text):
        sign, whole, fixed, *periods = repeating.groups()
        return _repeating(sign, whole, fixed, periods[0] or periods[1]), False
    if dots := _DOTS.fullmatch(text):
        return _with_dots(dots[1].replace(" ", ""))
    mixed = _MIXED.fullmatch(text)
    ratio = mixed or _RATIO.fullmatch(text)
    if ratio is None:
        spelt = _from_words(text)
        return None if spelt is None else (spelt, False)
    groups = [part for part in ratio.groups() if part is not None]
    parts = [Fraction(part.replace(" ", "")) for part in groups[1:]]
    whole = parts.pop(0) if mixed else Fraction(0)
    numerator, denominator = parts
    if denominator == 0 or (mixed and "/" in mixed.group() and numerator >= denominator):
        return None
    return (-1 if groups[0] == "-" else 1) * (whole + numerator / denominator), False


def _repeating(sign: str, whole: str, fixed: str, period: str) -> Fraction:
    digits = Fraction(int(whole + fixed or "0")) + Fraction(int(period), 10 ** len(period) - 1)
    value = digits / 10 ** len(fixed)
    return -value if sign == "-" else value


def _with_dots(number: str) -> tuple[Fraction, bool]:
    """``0.1666...``: the shortest period that ends the digits three times (twice if it is longer), else a decimal."""
    sign = "-" if number.startswith("-") else ""
    whole, digits = number.lstrip("+-").split(".")
    for length in range(1, len(digits) // 2 + 1):
        period = digits[-length:]
        times = 3 if length == 1 else 2
        if digits.endswith(period * times):
            fixed = digits
            while fixed.endswith(period):
                fixed = fixed[:-length]
            return _repeating(sign, whole, fixed, period), False
    return Fraction(number), True


def _from_words(text: str) -> Fraction | None:
    """The whole number that words spell: ``twenty-five``, ``three hundred and five``."""
    match = _WORDS.fullmatch(text)
    if match is None:
        return None
    words = (match[1] or match[2]).lower().replace("-", " ").split()
    negative = bool(words) and words[0] in ("negative", "minus")
    words = [word for word in words[negative:] if word != "and"]
    if not words or words[0] not in CARDINALS:
        return None
    total = group = Fraction(0)
    for word in words:
        if word in CARDINALS:
            number = CARDINALS[word]
            if group % 100 and not (number < 10 and group % 10 == 0 and group % 100 >= 20):  # "five five"
                return None
            group += number
        elif word in SCALES and SCALES[word].denominator == 1:
            if SCALES[word] == 100:
                group *= 100
            else:
                total += group * SCALES[word]
                group = Fraction(0)
        else:
            return None
    return -(total + group) if negative else total + group


def same_number(answer: PlainNumber, reference: PlainNumber, tolerance: float | None = None) -> bool:
    """Whether two numbers agree under any of their readings; two percentages agree in their numbers.

    Exact spellings (integers, fractions) agree only if equal. Where either is a decimal they may differ by less than
    ``1e-6 * min(1, 10 |reference|)``: six decimal places, and five significant digits for small references.
    ``tolerance`` is a published absolute tolerance and replaces this rule.
    """
    ratio = size_ratio(answer.unit, reference.unit)
    if ratio is None:
        return False
    both = answer.percent and reference.percent
    for value in (answer.value,) if both else answer.readings:
        for expected in (reference.value,) if both else reference.readings:
            difference = abs(value * ratio - expected)
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
