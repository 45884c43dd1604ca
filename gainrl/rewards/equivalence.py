r"""Decides whether two answers are the same: `structure` reads what they consist of, `mathematics` what it means.

An answer is a list of items at its top level (``1, 2``; ``1 and 2``; ``3 \pm 1``), an item is a group in brackets or a
single value. Decisions:

1. Lists without brackets and sets are unordered, and items match one to one: ``2, 2`` is not ``2``.
2. Tuples and intervals are ordered; their brackets must be the same, so that ``[1, 2]`` is not ``(1, 2)`` and neither
   is ``\{1, 2\}``. A bare list may stand for a tuple in the same order, and a tuple for a bare list in any order.
3. ``x = 5``, ``x \in I`` and ``5`` agree where the reference leaves the name out, or the answer does. What gives no
   value by the rule of `relations` is a statement, and agrees with statements only. A reference that is an inequality
   accepts its interval; an interval accepts a set in braces and inequalities joined by ``or``.
4. Quantities, times of day, ratios and numbers with a base are read by `quantities`, choices by `choices`, words by
   `words`.
5. A reference that does not agree with itself cannot judge anything: the outcome is ``gold_unparsable``.

This module runs in worker processes: it must not import torch, and no call here is safe from running forever.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from gainrl.rewards.choices import read_choice
from gainrl.rewards.mathematics import same_expression
from gainrl.rewards.notation import clean
from gainrl.rewards.numerals import read_number, same_number
from gainrl.rewards.quantities import read_ratio, same_based, same_clock, same_quantity, same_ratio
from gainrl.rewards.relations import Chain, read_chain, same_name
from gainrl.rewards.statements import (
    interval_answers,
    is_condition,
    is_union,
    same_condition,
    same_congruence,
    same_equation,
)
from gainrl.rewards.structure import read_group, split_items
from gainrl.rewards.units import Unit, size_ratio, split_unit
from gainrl.rewards.words import read_words, remarks_agree, split_remark

# A bound in words is not a unit.
_BOUND = re.compile(
    r"\b(?:or (?:more|less|fewer|greater|higher|above)|at (?:least|most)|(?:more|less|fewer|greater) than)\b"
)
_NUMBERS_IN_A_ROW = re.compile(r"[-+]?[0-9][0-9.,]*(?: [0-9][0-9.,]*)+")
_SETS = re.compile(r"\\(?:cup|cap|setminus|mathbb|in|begin|emptyset|binom)(?![A-Za-z])")
_TRAILING_PERCENT = re.compile(r"\s*\\?%\s*$")


def compare(
    answer: str, references: Sequence[str], tolerance: float | None = None, is_list: bool = False
) -> tuple[str, str]:
    """The outcome for an answer against alternative references, and a word on why.

    Outcomes: ``correct``, ``wrong``, ``gold_unparsable`` (no reference can be read). An answer without a value, or with
    two of them, is wrong: the completion did answer.
    ``is_list``: commas separate answers, never thousands.
    """
    written = clean(answer, is_list=is_list)
    outcomes, failure = [], ""
    for reference in references:
        expected = clean(reference, is_list=is_list)
        if written and written == expected:
            return "correct", "same text"
        try:
            if same(written, expected, tolerance):
                return "correct", "equivalent"
        except (MemoryError, RecursionError):
            raise
        except Exception as fault:  # of sympy, on an answer that a model wrote: it must not leave its group by that
            failure = f": {type(fault).__name__}"
        outcomes.append(readable(expected))
    if not any(outcomes):
        return "gold_unparsable", "the reference answer cannot be read"
    if not readable(written):
        return "wrong", "the answer cannot be read"
    return "wrong", "not equivalent" + failure


@lru_cache(maxsize=4096)
def readable(text: str) -> bool:
    """Whether a cleaned answer can be read at all, i.e. agrees with itself without a comparison of texts."""
    try:
        return bool(text) and same(text, text)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # of sympy, on what has no value
        return False


def same(answer: str, reference: str, tolerance: float | None = None) -> bool:
    """Whether two cleaned answers agree by the rules of this module."""
    if not answer or not reference or bool(_BOUND.search(answer)) != bool(_BOUND.search(reference)):
        return False
    (answer, remark), (reference, expected_remark) = split_remark(answer), split_remark(reference)
    if not remarks_agree(remark, expected_remark):
        return False
    if (agreed := same_quantity(answer, reference)) is not None:
        return agreed
    for agreed in (same_congruence(answer, reference), _same_conditions(answer, reference)):
        if agreed is not None:
            return agreed
    if r"\pm" in answer + reference and same_equation(answer, reference):
        return True
    items, expected = _items_of(answer), _items_of(reference)
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


def _items_of(text: str) -> list[str]:
    return [text] if read_number(text) is not None else split_items(text)  # 1 and 1/2 is one number


def _same_conditions(answer: str, reference: str) -> bool | None:
    """Whether inequalities agree with inequalities or with intervals; None where neither text is made of them."""
    given, expected = is_condition(answer), is_condition(reference)
    if given and expected:
        return same_condition(answer, reference)
    if expected:
        return interval_answers(_value_of(answer), reference)
    if given:
        return (is_union(answer) or answer.startswith(r"\{")) and interval_answers(_value_of(reference), answer)
    return None


def _same_item(answer: str, reference: str, tolerance: float | None) -> bool:
    given, expected = read_chain(answer), read_chain(reference)
    if given.value is None or expected.value is None:
        # An equation that is not solved has no value to agree with.
        return bool(given.signs and expected.signs) and _same_statement(given, expected, answer, reference)
    if not same_name(given.name, expected.name):
        return same_equation(answer, reference)
    spellings = expected.sides if expected.is_numeric else (expected.value,)
    # Beside a chain of numbers every side of a chain counts: 2/4 = 0.67 is not 2/3 = 0.67.
    sides = given.sides if given.is_numeric and len(spellings) > 1 and all(given.sides) else (given.value,)
    return all(any(_same_single(side, spelling, tolerance) for spelling in spellings) for side in sides)


def _same_statement(given: Chain, expected: Chain, answer: str, reference: str) -> bool:
    """Whether two statements agree: as equations, else in their signs and sides."""
    if not (given.is_leading or expected.is_leading) and same_equation(answer, reference):
        return True
    return given.signs == expected.signs and all(
        (given.is_leading and expected.is_leading and place == 0)
        or (bool(one and other) and _same_single(one, other, None))
        for place, (one, other) in enumerate(zip(given.sides, expected.sides, strict=True))
    )


def _value_of(text: str) -> str:
    return read_chain(text).value or text


def _same_single(answer: str, reference: str, tolerance: float | None) -> bool:
    group, expected = read_group(answer), read_group(reference)
    if group is not None and expected is not None:
        if group[0] != expected[0]:
            return False
        match = _match_any_order if expected[0] == "{}" else _match_in_order
        return match(group[1], expected[1], tolerance)
    if (group is None) != (expected is None):
        several, single = (group, reference) if group is not None else (expected, answer)
        if several is not None and len(several[1]) > 1 and not _SETS.search(single):
            return False  # a group of several items is not a single value
    if group is not None and group[0] == "{}" and len(group[1]) == 1:
        answer = group[1][0]
    if expected is not None and expected[0] == "{}" and len(expected[1]) == 1:
        reference = expected[1][0]
    return _same_value(answer, reference, tolerance)


def _same_value(answer: str, reference: str, tolerance: float | None) -> bool:
    number, expected = read_number(answer), read_number(reference, is_reference=True)
    if number is not None and expected is not None:
        return same_number(number, expected, tolerance)
    choice, expected_choice = read_choice(answer), read_choice(reference)
    if choice is not None and expected_choice is not None:
        if choice.text and expected_choice.text:
            return choice.letter == expected_choice.letter and _same_value(choice.text, expected_choice.text, tolerance)
        return choice.letter == expected_choice.letter
    if choice is not None and choice.text and _same_value(choice.text, reference, tolerance):
        return True
    if expected_choice is not None and expected_choice.text and _same_value(answer, expected_choice.text, tolerance):
        return True
    if _NUMBERS_IN_A_ROW.fullmatch(answer) or _NUMBERS_IN_A_ROW.fullmatch(reference):
        return False
    for agreed in (same_based(answer, reference), same_clock(answer, reference)):
        if agreed is not None:
            return agreed
    if (agreed := _same_ratios(answer, reference, tolerance)) is not None:
        return agreed
    words, expected_words = read_words(answer), read_words(reference)
    if expected_words is not None and words is not None and _are_words(answer, words, expected_words):
        return words == expected_words
    return _same_with_units(answer, reference, tolerance)


def _are_words(answer: str, words: str, expected: str) -> bool:
    """Whether words decide: different words of three letters may be one product, and a word may be a unit."""
    return words == expected or (split_unit(answer)[1] is None and max(len(words), len(expected)) > 3)


def _same_ratios(answer: str, reference: str, tolerance: float | None) -> bool | None:
    given, expected = read_ratio(answer), read_ratio(reference)
    if given is not None and expected is not None:
        agreed = same_ratio(given, expected)
        if agreed is not None:
            return agreed
        return all(one == other or _same_value(one, other, None) for one, other in zip(given, expected, strict=True))
    for parts, other, is_answer in ((given, reference, True), (expected, answer, False)):
        if parts is not None and len(parts) == 2:
            quotient = rf"\frac{{{parts[0]}}}{{{parts[1]}}}"
            pair = (quotient, other) if is_answer else (other, quotient)
            return _same_value(*pair, tolerance)
    return None


def _same_with_units(answer: str, reference: str, tolerance: float | None) -> bool:
    """Whether two expressions agree, their units converted where both have one."""
    head, unit = split_unit(answer)
    expected_head, expected_unit = split_unit(reference)
    if not (_is_written_out(unit, expected_unit) or _is_written_out(expected_unit, unit)):
        if unit is not None and unit.ambiguous:
            head, unit = answer, None
        if expected_unit is not None and expected_unit.ambiguous:
            expected_head, expected_unit = reference, None
    ratio = size_ratio(unit, expected_unit)
    if ratio is None:
        return False
    for each, sign in ((unit, 1), (expected_unit, -1)):
        ratio *= each.factor**sign if each is not None else 1
    head, expected_head = (_TRAILING_PERCENT.sub("", text) for text in (head, expected_head))
    if ratio != 1:
        head = rf"\frac{{{ratio.numerator}}}{{{ratio.denominator}}} \cdot ({head})"
    return same_expression(head, expected_head, tolerance)


def _is_written_out(unit: Unit | None, letters: Unit | None) -> bool:
    r"""Whether a unit says that letters are a unit too: ``5\text{ m/s}`` beside ``5 m/s``."""
    if unit is None or letters is None or unit.ambiguous or not letters.ambiguous:
        return False
    return unit.dimensions is not None and unit.dimensions == letters.dimensions


def _match_in_order(items: Sequence[str], expected: Sequence[str], tolerance: float | None) -> bool:
    return len(items) == len(expected) and all(
        same(item, reference, tolerance) for item, reference in zip(items, expected, strict=True)
    )


def _match_any_order(items: Sequence[str], expected: Sequence[str], tolerance: float | None) -> bool:
    if len(items) != len(expected):
        return False
    left = list(items)
    for reference in expected:
        place = next((index for index, item in enumerate(left) if _same_item(item, reference, tolerance)), None)
        if place is None:
            return False
        left.pop(place)
    return True
