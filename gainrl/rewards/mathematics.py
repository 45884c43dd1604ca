r"""What an expression means: it is read as a sympy object, and its value decides what it equals.

1. `expressions` reads ordinary expressions, latex2sympy the rest. Numbers are equal if their first 35 digits are,
   however small they are. Expressions with letters are equal if they are so at `POINTS` random places.
2. A decimal is rounded, so that it may differ by less than ``1e-6 * min(1, 10 |reference|)``: six places, and five
   significant digits for small references. The same holds at each place for expressions that contain decimals.
3. A free ``i`` is the imaginary unit and ``e`` is Euler's number. Degrees inside an expression are pi/180.
4. Letters are real. Their case is ignored unless the answer or the reference uses a letter in both: ``x^2 + c`` is
   ``x^2 + C``, and ``R - r`` is not 0.
5. Sets are compared by math-verify; matrices entry by entry.
"""

from __future__ import annotations

import logging
import random
import re
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
from latex2sympy2_extended.latex2sympy2 import ConversionConfig
from math_verify import verify
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational

from gainrl.rewards.expressions import Unsupported, parse_expression

logging.getLogger("math_verify").setLevel(logging.CRITICAL)

POINTS = 4
DIGITS = 40
DECIMAL_TOLERANCE = sympy.Rational(1, 10**6)

_NORMALISATION = NormalizationConfig(boxed="none", malformed_operators=True)
_CONVERSION = ConversionConfig(lowercase_symbols=False)
_TRIGONOMETRIC = re.compile(r"\\(?:arc)?(?:sin|cos|tan|cot|sec|csc)")
_DEGREES = re.compile(r"([0-9]+(?:\.[0-9]+)?|[A-Za-z]|\\[a-z]+|\}|\))\s*\^\\circ(?![A-Za-z])")
_PRIMED = re.compile(r"(?<![A-Za-z\\])([A-Za-z])'(?!')")
_ACCENTED = re.compile(r"\\(d?dot|hat|vec|bar|tilde|overline|widehat)\s*\{\\?([A-Za-z]+)\}")
_POINTS_OF = re.compile(r"\\(angle|triangle|measuredangle)\s*([A-Za-z]+|\\[a-z]+)")
# Letters that latex2sympy takes for a constant, a function or a matrix, and letters that stand in for them.
_TAKEN = re.compile(
    r"\\text\{[^{}]*\}|\\(?:begin|end)\{[a-z]+\}|\\[Gg]amma(?!\s*\()(?![A-Za-z])|\\[A-Za-z]+|[EI]|e(?=\s*_)"
)
_STAND_INS = {"E": r"\Upsilon ", "e": r"\upsilon ", "I": r"\iota ", r"\gamma": r"\omicron ", r"\Gamma": r"\varrho "}
# latex2sympy reads these as something else, or drops them.
_NOT_READ = re.compile(
    r"\\(?:text(?!\{[a-zA-Z]+\})|langle|rangle|ldots|equiv|pmod|bmod|mod|parallel|perp|operatorname|mathbb\{[^RNZQC]"
    r"|boxed|tag|forall|exists)|(?<![0-9A-Za-z}\])|!])!|[0-9]\s*_|[?;:@#\"]|\\\\\s*$|(?<=[0-9.])\s+(?=[0-9.])|\^\s*\{\s*\}|''"
)


@lru_cache(maxsize=8192)
def read_expression(text: str) -> Any | None:
    """What a cleaned text means, or None where not all of it can be read."""
    text = _ACCENTED.sub(lambda name: rf"\text{{{name[1]}{name[2]}}}", text)
    text = _PRIMED.sub(r"\\text{\1prime}", _POINTS_OF.sub(lambda name: rf"\text{{{name[1] + name[2]}}}", text))
    if not text or _NOT_READ.search(re.sub(r"\s+!", "!", text)):
        return None
    if r"^\circ" in text and not _TRIGONOMETRIC.search(text):
        text = text.replace(r"^\circ", " ")
    try:
        return parse_expression(text)
    except Unsupported:
        return _read_with_latex2sympy(text)
    except (ArithmeticError, AttributeError, TypeError, ValueError):  # sympy on what has no value
        return None


def _read_with_latex2sympy(text: str) -> Any | None:
    text = _TAKEN.sub(lambda match: _STAND_INS.get(match.group(), match.group()), re.sub(r"\s+!", "!", text))
    text = _DEGREES.sub(r"\1 \\cdot \\frac{\\pi}{180} ", text)
    try:
        parsed = latex2sympy(
            normalize_latex(text, _NORMALISATION),
            is_real=True,
            normalization_config=None,
            conversion_config=_CONVERSION,
        )
    except (MemoryError, RecursionError):
        raise
    except Exception:  # latex2sympy has no exception of its own
        return None
    return _with_constants(parsed)


def same_expression(answer: str, reference: str, tolerance: float | None = None) -> bool:
    """Whether two cleaned texts mean the same value, matrix or set; ``tolerance`` is absolute, for numbers."""
    given, expected = read_expression(answer), read_expression(reference)
    if given is None or expected is None:
        return False
    if not (_both_cases(given) or _both_cases(expected)):
        given, expected = _in_lower_case(given), _in_lower_case(expected)
    return same_value(given, expected, tolerance)


def same_value(given: Any, expected: Any, tolerance: float | None = None) -> bool:
    """Whether two sympy objects agree by the rules of this module."""
    if isinstance(given, sympy.MatrixBase) or isinstance(expected, sympy.MatrixBase):
        given, expected = (_evaluated(one) for one in (given, expected))
        if not isinstance(given, sympy.MatrixBase) or not isinstance(expected, sympy.MatrixBase):
            return False
        return given.shape == expected.shape and all(
            same_value(one, other, tolerance) for one, other in zip(given.flat(), expected.flat(), strict=True)
        )
    if isinstance(given, sympy.Expr) and isinstance(expected, sympy.Expr):
        return _same_scalar(given, expected, tolerance)
    if isinstance(given, Relational) or isinstance(expected, Relational):
        return False  # `statements` compares them
    if given == expected:
        return True
    return bool(verify([expected], [given], timeout_seconds=None))


def _same_scalar(given: sympy.Expr, expected: sympy.Expr, tolerance: float | None) -> bool:
    if given.has(sympy.nan, sympy.zoo) or expected.has(sympy.nan, sympy.zoo):
        return False
    rounded = given.has(sympy.Float) or expected.has(sympy.Float)
    given, expected = (_evaluated(_exact(one)) for one in (given, expected))
    if given == expected:
        return given not in (sympy.nan, sympy.zoo)
    if isinstance(given, sympy.Rational) and isinstance(expected, sympy.Rational) and not rounded and tolerance is None:
        return False
    names = sorted(given.free_symbols | expected.free_symbols, key=str)
    draws = random.Random(0)
    seen = 0
    for attempt in range(3 * POINTS if names else 1):
        # Both signs and several magnitudes; early places are small, so that powers stay finite.
        at = {name: sympy.Rational(draws.randint(-9_999, 9_999), 1_000 * 10 ** (attempt % 3)) for name in names}
        values = _number(given, at), _number(expected, at)
        if None in values:
            if not names:
                return False
            continue
        if not _close(values[0], values[1], rounded, tolerance if not names else None):
            return False
        seen += 1
        if seen == POINTS:
            return True
    return seen > 0 if names else seen == 1


def _close(given: Any, expected: Any, rounded: bool, tolerance: float | None) -> bool:
    difference, size = abs(given - expected), abs(expected)
    if tolerance is not None:
        return bool(difference <= tolerance)
    if difference == 0:
        return True
    if rounded:
        return bool(difference < DECIMAL_TOLERANCE * min(1, 10 * size))
    return bool(difference < sympy.Float(10, DIGITS) ** (4 - DIGITS) * max(size, abs(given)))


def _number(expression: sympy.Expr, at: dict[sympy.Symbol, sympy.Rational]) -> Any | None:
    """The value at a place; None where it is not a finite number."""
    try:
        value = expression.evalf(DIGITS, subs=at) if at else expression.evalf(DIGITS)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # sympy raises many kinds
        return None
    real, imaginary = value.as_real_imag()
    parts = [_part(real), _part(imaginary)]
    if None in parts:
        return None
    return parts[0] + sympy.I * parts[1] if parts[1] else parts[0]


def _part(value: Any) -> Any | None:
    if not value.is_Number or not value.is_finite:
        return None
    # Digits that cancelled: sympy marks what is left by a low precision.
    if value.is_Float and value._prec < 60 and abs(value) < sympy.Float(10) ** (-DIGITS):
        return sympy.Integer(0)
    return value


def _evaluated(expression: Any) -> Any:
    try:
        return expression.doit()
    except (MemoryError, RecursionError):
        raise
    except Exception:  # sympy raises many kinds
        return expression


def _exact(expression: sympy.Expr) -> sympy.Expr:
    """Decimals as the fractions that they spell."""
    decimals = {number: sympy.Rational(str(number)) for number in expression.atoms(sympy.Float) if number.is_finite}
    return functions_as_letters(expression.xreplace(decimals) if decimals else expression)


def functions_as_letters(expression: sympy.Expr) -> sympy.Expr:
    """Functions of no known meaning, such as f(x), as letters."""
    functions = {function: sympy.Symbol(str(function), real=True) for function in expression.atoms(AppliedUndef)}
    return expression.xreplace(functions) if functions else expression


def _with_constants(expression: Any) -> Any:
    if not hasattr(expression, "free_symbols"):
        return expression
    constants = {
        symbol: sympy.I if symbol.name == "i" else sympy.E
        for symbol in expression.free_symbols
        if symbol.name in ("i", "e")
    }
    return expression.subs(constants) if constants else expression


def _both_cases(expression: Any) -> bool:
    names = {symbol.name for symbol in getattr(expression, "free_symbols", ())}
    return any(name.swapcase() in names for name in names if name.swapcase() != name)


def _in_lower_case(expression: Any) -> Any:
    letters = {
        symbol: sympy.Symbol(symbol.name.lower(), real=True)
        for symbol in getattr(expression, "free_symbols", ())
        if symbol.name != symbol.name.lower()
    }
    return expression.xreplace(letters) if letters else expression
