r"""Equations and inequalities, compared by their solutions as far as that goes without solving them.

1. Two equations agree if one is a multiple of the other: ``2x + 2y = 4`` and ``x + y = 2``. Fractions are cleared
   where no solution comes or goes with it; ``\pm`` stands for both equations at once.
2. A linear inequality in one letter is an interval, a chain of them or ``and`` is an intersection, ``or`` a union.
   Other inequalities agree like equations do, the sign included.
3. ``\{x \mid x > 2\}`` is what stands after the bar.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sympy

from gainrl.rewards.mathematics import functions_as_letters, read_expression, same_value
from gainrl.rewards.relations import read_chain

_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\ne": r"\ne"}
_SPELLINGS = {"<=": r"\le", "=<": r"\le", ">=": r"\ge", "=>": r"\ge", "!=": r"\ne", r"\not=": r"\ne"}
_BUILDER = re.compile(r"\\\{\s*(?P<name>[A-Za-z])\s*(?:\\in\s*\\mathbb\{R\}\s*)?(?:\\mid|\||:)\s*(?P<condition>.*)\\\}")
_OR = re.compile(r"\s*(?:,?\s*\\text\s*\{\s*,?\s*(?:or|OR)\s*,?\s*\}|(?<![A-Za-z])or(?![A-Za-z])|\\cup)\s*")
_AND = re.compile(r"\s*(?:\\text\s*\{\s*,?\s*(?:and|AND)\s*,?\s*\}|(?<![A-Za-z])and(?![A-Za-z])|\\cap)\s*")

_CONGRUENCE = re.compile(
    r"(?P<name>[A-Za-z])\s*\\equiv\s*(?P<remainders>-?[0-9]+(?:\s*,\s*-?[0-9]+)*)\s*"
    r"\(?\s*\\(?:pmod|bmod|mod)\s*\{?\s*(?P<modulus>[0-9]+)\s*\}?\s*\)?"
)

Inequality = tuple[Any, str]  # an expression and its sign against 0


def same_equation(answer: str, reference: str) -> bool:
    """Whether two equations with one sign of equality each have the same solutions by rule 1."""
    given, expected = _difference(answer), _difference(reference)
    if given is None or expected is None:
        return False
    return _proportional(given, expected) is not None


def set_builder(text: str) -> str:
    """The condition of a set that is written by its condition; any other text as it is."""
    match = _BUILDER.fullmatch(text)
    return match["condition"].strip() if match and _has_inequality(match["condition"]) else text


def is_condition(text: str) -> bool:
    r"""Whether a text consists of inequalities joined by commas, ``and`` or ``or``."""
    return all(_has_inequality(piece) for pieces in _alternatives(text) for piece in pieces)


def is_union(text: str) -> bool:
    """Whether inequalities are joined by ``or``."""
    return len(_OR.split(text)) > 1


def solution_set(text: str) -> tuple[sympy.Symbol, sympy.Set] | None:
    """The letter and the real solutions of linear inequalities in one letter, or None."""
    names: set[sympy.Symbol] = set()
    union: sympy.Set = sympy.S.EmptySet
    for pieces in _alternatives(text):
        intervals = []
        for inequality in (one for piece in pieces for one in _inequalities(piece) or (None,)):
            interval = None if inequality is None else _interval(inequality)
            if interval is None:
                return None
            names.add(interval[0])
            intervals.append(interval[1])
        solutions = sympy.Intersection(*intervals)
        if solutions is sympy.S.EmptySet and len(pieces) > 1 and not _AND.search(text):  # x < 2, x > 5
            solutions = sympy.Union(*intervals)
        union = union | solutions
    return (names.pop(), union) if len(names) == 1 else None


def same_condition(answer: str, reference: str) -> bool:
    """Whether two conditions have the same solutions by rules 2 and 3."""
    given, expected = solution_set(answer), solution_set(reference)
    if given is not None and expected is not None:
        return given[0] == expected[0] and _same_set(given[1], expected[1])
    left, right = _alternatives(answer), _alternatives(reference)
    if len(left) > 1 or len(right) > 1:
        return answer == reference
    given_all, expected_all = ([one for piece in side[0] for one in _inequalities(piece)] for side in (left, right))
    return 0 < len(given_all) == len(expected_all) and all(
        any(_same_inequality(one, other) for one in given_all) for other in expected_all
    )


def interval_answers(interval: str, condition: str) -> bool:
    """Whether an interval (or a union of some) is the set of solutions of a condition."""
    solutions, given = solution_set(condition), read_expression(interval)
    return solutions is not None and isinstance(given, sympy.Set) and _same_set(given, solutions[1])


def same_congruence(answer: str, reference: str) -> bool | None:
    """Whether two congruences agree in letter, modulus and remainders; None unless both are congruences."""
    given, expected = _CONGRUENCE.fullmatch(answer), _CONGRUENCE.fullmatch(reference)
    if given is None or expected is None:
        return None
    modulus = int(expected["modulus"])
    return (
        given["name"].strip() == expected["name"].strip()
        and int(given["modulus"]) == modulus > 0
        and _residues(given["remainders"], modulus) == _residues(expected["remainders"], modulus)
    )


def _residues(remainders: str, modulus: int) -> set[int]:
    return {int(remainder) % modulus for remainder in remainders.split(",")}


def _alternatives(text: str) -> list[list[str]]:
    """The pieces between commas and ``and``, for each part between ``or``."""
    return [
        [piece for joined in _AND.split(part) for piece in joined.split(",")] for part in _OR.split(set_builder(text))
    ]


def _same_set(given: sympy.Set, expected: sympy.Set) -> bool:
    return given == expected or same_value(given, expected)


def _has_inequality(text: str) -> bool:
    chain = read_chain(text)
    return bool(chain.signs and all(chain.sides)) and all(
        _SPELLINGS.get(sign, sign) in _FLIPPED for sign in chain.signs
    )


def _inequalities(text: str) -> Sequence[Inequality]:
    chain = read_chain(text)
    signs = [_SPELLINGS.get(sign.replace(" ", ""), sign) for sign in chain.signs]
    if not signs or not all(chain.sides) or any(sign not in _FLIPPED for sign in signs):
        return ()
    read = [read_expression(side) for side in chain.sides]
    sides = [side for side in read if isinstance(side, sympy.Expr)]
    if len(sides) < len(read):
        return ()
    return [(left - right, sign) for left, right, sign in zip(sides, sides[1:], signs, strict=False)]


def _interval(inequality: Inequality) -> tuple[sympy.Symbol, sympy.Set] | None:
    expression, sign = inequality
    names = expression.free_symbols
    if len(names) != 1:
        return None
    name = next(iter(names))
    try:
        polynomial = sympy.Poly(expression.doit(), name)
    except sympy.PolynomialError:
        return None
    if polynomial.degree() != 1:
        return None
    slope, constant = polynomial.all_coeffs()
    if not slope.is_real or not constant.is_real:
        return None
    end = sympy.nsimplify(-constant / slope, rational=True) if expression.has(sympy.Float) else -constant / slope
    sign = sign if slope.is_positive else _FLIPPED[sign]
    infinity = sympy.oo
    return name, {
        "<": sympy.Interval.open(-infinity, end),
        r"\le": sympy.Interval(-infinity, end),
        ">": sympy.Interval.open(end, infinity),
        r"\ge": sympy.Interval(end, infinity),
        r"\ne": sympy.Complement(sympy.S.Reals, sympy.FiniteSet(end)),
    }[sign]


def _same_inequality(given: Inequality, expected: Inequality) -> bool:
    factor = _proportional(given[0], expected[0])
    if factor is None or not factor.is_real:
        return False
    return given[1] == (expected[1] if factor.is_positive else _FLIPPED[expected[1]])


def _difference(text: str) -> sympy.Expr | None:
    r"""Left minus right side of an equation; of ``y = \pm f`` the product of both."""
    chain = read_chain(text)
    if chain.signs != ("=",) or not all(chain.sides):
        return None
    if text.count(r"\pm") == 1:
        both = [_difference(text.replace(r"\pm", sign)) for sign in ("+", "-")]
        return None if both[0] is None or both[1] is None else both[0] * both[1]
    left, right = (read_expression(side) for side in chain.sides)
    if not isinstance(left, sympy.Expr) or not isinstance(right, sympy.Expr):
        return None
    return functions_as_letters(left - right)


def _proportional(given: sympy.Expr, expected: sympy.Expr) -> sympy.Expr | None:
    """The number that one expression is times the other, numerators alone where that loses and adds no zero."""
    if given == expected:
        return sympy.S.One
    if given.free_symbols != expected.free_symbols or not given.free_symbols:
        return None
    for one, other in ((given, expected), (_numerator(given), _numerator(expected))):
        if one is None or other is None:
            continue
        place = {name: sympy.Rational(3 + 7 * index, 5) for index, name in enumerate(sorted(one.free_symbols, key=str))}
        factor = (one / other).subs(place)
        if factor.is_finite and factor != 0 and same_value(one, factor * other):
            return factor.evalf()
    return None


def _numerator(expression: sympy.Expr) -> sympy.Expr | None:
    """The numerator of an expression if it and the denominator are polynomials that are never 0 at once."""
    numerator, denominator = sympy.fraction(sympy.together(expression.doit()))
    names = sorted(expression.free_symbols, key=str)
    if not denominator.free_symbols:
        return numerator
    if not numerator.is_polynomial(*names) or not denominator.is_polynomial(*names):
        return None
    return numerator if sympy.groebner([numerator, denominator], *names).exprs == [sympy.S.One] else None
