r"""Decides whether two answers are the same: `structure` reads what they consist of, math-verify the mathematics.

An answer is a list of items at its top level (``1, 2``; ``1 and 2``; ``3 \pm 1``), an item is a group in brackets or a
single value. Decisions:

1. Lists without brackets and sets are unordered, and items match one to one: ``2, 2`` is not ``2``.
2. Tuples and intervals are ordered; their brackets must be the same, so that ``[1, 2]`` is not ``(1, 2)`` and neither
   is ``\{1, 2\}``. A bare list may stand for a tuple in the same order, and a tuple for a bare list in any order.
3. ``x = 5``, ``x \in I`` and ``5`` agree where the reference leaves the name out, or the answer does. What is no
   such chain by the rule of `relations` is a statement, and agrees with statements only; a reference that is an
   inequality accepts its interval, as math-verify has it.
4. Times of day agree in hour and minute; a.m. or p.m. may be left out. A ratio such as 1:2 is a quotient.
   A percent sign on anything but a number is dropped.
5. A number with a base as subscript agrees with the same digits without one, but not with another base.
6. Words are compared without case, spaces and punctuation; choice letters without their brackets, and without the
   text of the choice where the reference is the letter alone.
7. A reference that does not agree with itself cannot judge anything: the outcome is ``gold_unparsable``.

This module runs in worker processes: it must not import torch, and no call here is safe from running forever.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

from gainrl.rewards.notation import clean
from gainrl.rewards.numerals import drop_unit, read_number, same_number
from gainrl.rewards.relations import Chain, read_chain, same_name
from gainrl.rewards.structure import read_group, split_items

logging.getLogger("math_verify").setLevel(logging.CRITICAL)

# math-verify takes a final " c", " m" or " t" for a unit; units are dropped before, so its own rule comes second.
_NORMALISATION = LatexExtractionConfig().normalization_config
_READINGS = tuple(
    (LatexExtractionConfig(boxed_match_priority=0, normalization_config=normalisation), ExprExtractionConfig())
    for normalisation in (replace(_NORMALISATION, units=False), _NORMALISATION)
)
_WORDS = re.compile(r"\\(?:text|mathrm|mbox|textbf|textrm|mathbf)\s*\{([^{}]*)\}")
_BASED = re.compile(r"([0-9A-Za-z]+)\s*_\s*\{?\s*([0-9]+)\s*\}?")
_CLOCK = re.compile(
    r"(?:0?([0-9])|(1[0-9]|2[0-3])):([0-5][0-9])\s*(?:\\[a-z]+\s*\{)?\s*([ap]?)\.?\s*(?:m?\.?)\s*\}?", re.IGNORECASE
)
_STYLE = r"(?:\\(?:text|textbf|mathrm|mathbf|textrm|mbox)\s*\{\s*)?"
_LETTER = re.compile(rf"{_STYLE}\(?\s*(?P<letter>[A-Ja-j])\s*\)?\s*\}}?")
# (A), A), A) 5, \textbf{(A)} 5: a choice and its text, which may not offer a second choice.
_CHOICE = re.compile(
    rf"{_STYLE}\(?\s*(?P<letter>[A-J])\s*\)\s*\}}?"
    r"(?P<text>(?!\s*[+*/^_=<>,(]|.*(?:[A-J]\s*\)|\bor\b|\band\b))(?:[ ~\\].*)?)"
)
# A bound in words is no unit.
_BOUND = re.compile(
    r"\b(?:or (?:more|less|fewer|greater|higher|above)|at (?:least|most)|(?:more|less|fewer|greater) than)\b"
)
_NUMBERS_IN_A_ROW = re.compile(r"[-+]?[0-9][0-9.,]*(?: [0-9][0-9.,]*)+")
_TRAILING_PERCENT = re.compile(r"\s*\\?%\s*$")


def compare(
    answer: str, references: Sequence[str], tolerance: float | None = None, is_list: bool = False
) -> tuple[str, str]:
    """The outcome for an answer against alternative references, and a word on why.

    Outcomes: ``correct``, ``wrong``, ``unparsable`` (the answer), ``gold_unparsable`` (every reference).
    ``is_list``: commas separate answers, never thousands.
    """
    written = clean(answer, is_list=is_list)
    outcomes = []
    for reference in references:
        expected = clean(reference, is_list=is_list)
        if written and written == expected:
            return "correct", "same text"
        if same(written, expected, tolerance):
            return "correct", "equivalent"
        outcomes.append(readable(expected))
    if not any(outcomes):
        return "gold_unparsable", "the reference answer cannot be read"
    if not readable(written):
        return "unparsable", "the answer cannot be read"
    return "wrong", "not equivalent"


@lru_cache(maxsize=4096)
def readable(text: str) -> bool:
    """Whether a cleaned answer can be read at all, i.e. agrees with itself without a comparison of texts."""
    return bool(text) and same(text, text)


def same(answer: str, reference: str, tolerance: float | None = None) -> bool:
    """Whether two cleaned answers agree by the rules of this module."""
    if not answer or not reference or bool(_BOUND.search(answer)) != bool(_BOUND.search(reference)):
        return False
    items, expected = split_items(answer), split_items(reference)
    if len(expected) > 1:
        if len(items) == 1 and (group := read_group(_value_of(items[0]))) is not None:
            items = group[1]
        return _match_any_order(items, expected, tolerance)
    if len(items) > 1:
        group = read_group(_value_of(reference))
        if group is None or group[0] == "[]":
            return False
        if group[0] == "{}":
            return _match_any_order(items, group[1], tolerance)
        return _match_in_order(items, group[1], tolerance)
    return _same_item(items[0], expected[0], tolerance)


def _same_item(answer: str, reference: str, tolerance: float | None) -> bool:
    given, expected = read_chain(answer), read_chain(reference)
    if given.value is None and expected.value is None:
        return _same_statement(given, expected, answer, reference)
    if given.value is None:
        return False  # an equation that is not solved, or an inequality, where a value is asked for
    if expected.value is None:
        # math-verify holds intervals against inequalities; an equation that is not solved has no value to agree with.
        return _is_inequality(expected) and _same_mathematics(given.value, reference)
    if not same_name(given.name, expected.name):
        return False
    spellings = expected.sides if expected.is_numeric else (expected.value,)
    return any(_same_single(given.value, spelling, tolerance) for spelling in spellings)


def _same_statement(given: Chain, expected: Chain, answer: str, reference: str) -> bool:
    """Whether two equations or inequalities agree: with a side left out they must be alike in sign and in the rest."""
    if given.is_leading or expected.is_leading:
        return (
            given.is_leading
            and expected.is_leading
            and given.signs == expected.signs
            and _same_single(given.sides[-1], expected.sides[-1], None)
        )
    return _is_inequality(given) == _is_inequality(expected) and _same_mathematics(answer, reference)


def _is_inequality(chain: Chain) -> bool:
    return not chain.is_leading and any(sign.strip("\\")[0] in "<>lgn!" for sign in chain.signs)


def _value_of(text: str) -> str:
    return read_chain(text).value or text


def _same_single(answer: str, reference: str, tolerance: float | None) -> bool:
    group, expected = read_group(answer), read_group(reference)
    if group is not None and expected is not None:
        if group[0] != expected[0]:
            return False
        match = _match_any_order if expected[0] == "{}" else _match_in_order
        return match(group[1], expected[1], tolerance)
    return _same_value(answer, reference, tolerance)


def _same_value(answer: str, reference: str, tolerance: float | None) -> bool:
    if choice := _CHOICE.fullmatch(answer):
        letter = _LETTER.fullmatch(reference)
        if letter is not None:
            return choice["letter"].lower() == letter["letter"].lower()
        if (chosen := read_number(choice["text"].strip())) and (expected := read_number(reference)):
            return same_number(chosen, expected, tolerance)
    number, expected = read_number(answer), read_number(reference)
    if number is not None and expected is not None:
        return same_number(number, expected, tolerance)
    if _NUMBERS_IN_A_ROW.fullmatch(answer) or _NUMBERS_IN_A_ROW.fullmatch(reference):
        return False  # math-verify would multiply them
    based, expected_based = _BASED.fullmatch(answer), _BASED.fullmatch(reference)
    if based and expected_based:
        return based.groups() == expected_based.groups()
    clock, expected_clock = _CLOCK.fullmatch(answer), _CLOCK.fullmatch(reference)
    if expected_clock and clock:
        return _same_clock(clock, expected_clock)
    words, expected_words = _words(answer), _words(reference)
    if expected_words is not None and words is not None:
        return words == expected_words
    return _same_mathematics(answer, reference, tolerance)


def _same_mathematics(answer: str, reference: str, tolerance: float | None = None) -> bool:
    parsed, expected_parsed = (parse_item(drop_unit(_TRAILING_PERCENT.sub("", text))) for text in (answer, reference))
    if not parsed or not expected_parsed:
        return False
    if tolerance is not None and _within(parsed, expected_parsed, tolerance):
        return True
    return bool(verify(list(expected_parsed), list(parsed), timeout_seconds=None))


@lru_cache(maxsize=4096)
def parse_item(text: str) -> tuple[Any, ...]:
    """What math-verify reads in a single value: expressions only, never its fallback on the bare text."""
    boxed = rf"\boxed{{{text}}}"
    for config in _READINGS:
        found = parse(boxed, extraction_config=config, fallback_mode="no_fallback", parsing_timeout=None)
        if found:
            return tuple(found)
    return ()


def _match_in_order(items: Sequence[str], expected: Sequence[str], tolerance: float | None) -> bool:
    return len(items) == len(expected) and all(
        same(item, reference, tolerance) for item, reference in zip(items, expected, strict=True)
    )


def _match_any_order(items: Sequence[str], expected: Sequence[str], tolerance: float | None) -> bool:
    if len(items) != len(expected):
        return False
    left = list(items)
    for reference in expected:
        found = next((index for index, item in enumerate(left) if _same_item(item, reference, tolerance)), None)
        if found is None:
            return False
        left.pop(found)
    return True


def _words(text: str) -> str | None:
    """The letters of an answer in words (or a choice letter), or None where it is anything else."""
    bare = _WORDS.sub(r"\1", text)
    if bare == text and not re.fullmatch(r"\(?[A-Za-z]\)?|[A-Za-z][A-Za-z' .-]{2,}", bare):
        return None
    if re.search(r"[\\^_{}=+*/<>]", bare):
        return None
    letters = re.sub(r"[^0-9a-z]", "", bare.casefold())
    return letters or None


def _same_clock(answer: re.Match[str], reference: re.Match[str]) -> bool:
    """Times of day agree in hour and minute, and in a.m. or p.m. where both say which."""
    hour, minute, half = answer.group(1) or answer.group(2), answer.group(3), answer.group(4).lower()
    expected_hour, expected_half = reference.group(1) or reference.group(2), reference.group(4).lower()
    return (hour, minute) == (expected_hour, reference.group(3)) and (
        half == expected_half or not half or not expected_half
    )


def _within(parsed: Sequence[Any], expected: Sequence[Any], tolerance: float) -> bool:
    try:
        return abs(complex(parsed[0].evalf()) - complex(expected[0].evalf())) <= tolerance
    except (TypeError, ValueError, AttributeError):
        return False
