r"""The relations of an answer: ``x = 5``, ``3 \cdot 6 = 18``, ``x \le 3``, ``x + 5 = 18``.

A chain of ``=`` and ``\approx`` gives a value, its last side, where its first side is a name (``x``, ``f(3)``, ``AB``,
``\text{area}``, ``m + n``), where all its sides are numbers, or where it begins with the sign. Any other relation is a
statement, which no bare value is equal to: ``x + 5 = 18`` is not 18, and neither is ``\le 18``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_NAME_CHARACTERS = 120

_EQUAL = ("=", r"\approx")
_SIGNS = (
    r"(?:ne|neq|le|leq|leqslant|leqq|lt|ge|geq|geqslant|geqq|gt|ll|gg|nless|ngtr|nleq|ngeq|approx|equiv|sim|simeq|cong"
    r"|propto|in|notin|ni|subset|subseteq|supset|supseteq|mid|nmid|to|rightarrow|mapsto|parallel|perp)(?![A-Za-z])"
)
_TOKEN = re.compile(
    rf"(?P<open>\\\{{|[(\[{{]|\\begin(?![A-Za-z]))|(?P<close>\\\}}|[)\]}}]|\\end(?![A-Za-z]))"
    rf"|(?P<sign>\\not\s*(?:[=<>]|\\[a-z]+)|\\{_SIGNS}"
    r"|<=|>=|=<|=>|:=|==|(?<![0-9A-Za-z)}\]])!=|[=<>])|\\."
)

_TEXT_COMMAND = r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathbb|mathcal|mbox|operatorname|vec|hat|bar|overline)"
_GREEK = (
    r"\\(?:alpha|beta|gamma|delta|(?:var)?epsilon|zeta|eta|(?:var)?theta|kappa|lambda|mu|nu|xi|rho|sigma|tau|(?:var)?phi"
    r"|chi|psi|omega|ell|Gamma|Delta|Theta|Lambda|Xi|Sigma|Phi|Psi|Omega)(?![A-Za-z])"
)
_BRACED_NAME = rf"{_TEXT_COMMAND}\s*\{{[^{{}}=<>^+*/]*[A-Za-z][^{{}}=<>^+*/]*\}}"
_LETTER = rf"(?:[A-Za-z]|{_GREEK}|{_BRACED_NAME})"
_SUBSCRIPT = r"(?:\s*_\s*(?:\{(?:[^{}=]|\{[^{}=]*\})*\}|[0-9A-Za-z]|\\[a-z]+))?"
_PRIMES = r"(?:'+|\s*\^\s*(?:\*|\\prime|\{\s*(?:\*|(?:\\prime\s*)+|-1)\s*\}))?"
_SIMPLE = rf"{_LETTER}(?:{_SUBSCRIPT}{_PRIMES}|{_PRIMES}{_SUBSCRIPT})"
_NUMBER = (
    r"-?(?:[0-9]+(?:\.[0-9]+)?(?:\s*/\s*[0-9]+)?|\\frac\s*\{[0-9]+\}\s*\{[0-9]+\}|\\sqrt\s*\{?[0-9]+\}?|\\(?:infty|pi))"
)
_ARGUMENT = rf"\s*(?:{_NUMBER}|-?{_SIMPLE})\s*"
_POINTS = r"[A-Z](?:_\{?[0-9]\}?|')*(?:\s*[A-Z](?:_\{?[0-9]\}?|')*)"
_DIFFERENTIAL = rf"(?:d|\\partial)\s*(?:\^\s*\{{?[0-9]\}}?\s*)?{_SIMPLE}\s*(?:\^\s*\{{?[0-9]\}}?\s*)?"
_NAMES = (
    _SIMPLE,
    rf"{_SIMPLE}\s*\({_ARGUMENT}(?:,{_ARGUMENT})*\)",  # f(3); a product such as x(x + 5) is not a call
    rf"(?:P|E|\\Pr|{_BRACED_NAME})\s*[(\[].*[)\]]",  # P(X = 3)
    rf"{_POINTS}+|\|\s*{_POINTS}+\s*\||\[\s*{_POINTS}{{2,}}\s*\]",  # AB, |AB|, [ABC]
    rf"(?:m\s*)?\\(?:angle|triangle|measuredangle)\s*(?:[A-Z]|{_POINTS}+|{_SIMPLE})",
    rf"\\(?:sin|cos|tan|cot|sec|csc)\s*(?:\\angle\s*)?(?:{_GREEK}|[A-Z]|{_POINTS}+)",
    rf"\({_ARGUMENT}(?:,{_ARGUMENT})+(?:,\s*\\[lc]?dots\s*,{_ARGUMENT})?\)",  # (m, n) = (2, 5)
    rf"\\frac\s*\{{\s*{_DIFFERENTIAL}\}}\s*\{{\s*{_DIFFERENTIAL}\}}",
    rf"{_SIMPLE}(?:\s*[+-]\s*{_SIMPLE})+",  # m + n, which questions ask for by name; with a number it is an equation
)
_NAME = re.compile("|".join(f"(?:{name})" for name in _NAMES))

_STYLE = re.compile(rf"{_TEXT_COMMAND}\s*\{{([^{{}}=<>^+*/]*)\}}")
_LONG_WORD = re.compile(r"[A-Za-z]{4}|\b(?:sum|max|min|ans|avg|age|gcd|lcm)\b")

_OF_NUMBERS = re.compile(
    r"\\(?:text|mathrm|mbox|textrm|textbf|rm)\s*\{[^{}]*\}"
    r"|\\(?:frac|sqrt|cdot|times|div|pm|pi|binom|log|ln|sin|cos|tan|circ|degree|lfloor|rfloor|overline|gcd|[%$])"
    r"(?![A-Za-z])|(?<![A-Za-z])(?:[A-Za-z]{3,}|[mck]m|[mk]g|m[lL]|ft|in|hr|lb|oz|mi|yd)(?![A-Za-z])|\be(?=\s*\^)"
)


@dataclass(frozen=True, slots=True)
class Chain:
    """A text at the relations of its top level: ``sides`` has one item more than ``signs``."""

    sides: tuple[str, ...]
    signs: tuple[str, ...]

    @property
    def name(self) -> str | None:
        """What the value is called; None where it is not, or where the chain gives no value."""
        if not self.signs or not self._assigns():
            return None
        return self.sides[0] if is_name(self.sides[0]) else None

    @property
    def value(self) -> str | None:
        """The value that the chain gives, by the rule of this module; a text without relations is its own value."""
        if not self.signs:
            return self.sides[0]
        if not self._assigns() or not self.sides[-1]:
            return None
        first = self.sides[0]
        if not first:
            return None if r"\in" in self.signs else self.sides[-1]
        return self.sides[-1] if is_name(first) or self.is_numeric else None

    @property
    def is_numeric(self) -> bool:
        """Whether every side is a number, so that each is another spelling of one value."""
        return bool(self.signs) and set(self.signs) <= set(_EQUAL) and all(is_numeric(side) for side in self.sides)

    @property
    def is_leading(self) -> bool:
        return bool(self.signs) and not self.sides[0]

    def _assigns(self) -> bool:
        return all(sign in _EQUAL or (place == 0 and sign == r"\in") for place, sign in enumerate(self.signs))


def read_chain(text: str) -> Chain:
    """Splits a cleaned answer at the relations that no bracket holds."""
    sides, signs, depth, start = [], [], 0, 0
    for token in _TOKEN.finditer(text):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth = max(depth - 1, 0)
        elif token["sign"] and depth == 0:
            sides.append(text[start : token.start()].strip())
            signs.append("=" if token["sign"] in ("==", ":=") else token["sign"])
            start = token.end()
    sides.append(text[start:].strip())
    if signs == ["="] and sides[0] and is_name(sides[1]) and not (is_numeric(sides[1]) or is_name(sides[0])):  # 5 = x
        sides.reverse()
    return Chain(tuple(sides), tuple(signs))


def is_name(text: str) -> bool:
    """Whether a side names a value: a letter, ``f(3)``, points, or words."""
    if len(text) > MAX_NAME_CHARACTERS:
        return False
    if _NAME.fullmatch(text):
        return True
    words = _STYLE.sub(r" \1 ", text)
    return bool(_LONG_WORD.search(words)) and re.fullmatch(r"[A-Za-z0-9 ,.'()-]*", words) is not None


def is_numeric(text: str) -> bool:
    """Whether a side holds digits and no letters but units and functions."""
    bare = _OF_NUMBERS.sub("", text)
    return any(character.isdigit() for character in bare) and not any(character.isalpha() for character in bare)


def same_name(left: str | None, right: str | None) -> bool:
    """Whether two names agree but for spelling; a name that is left out agrees with any."""
    return left is None or right is None or _bare(left) == _bare(right)


def _bare(name: str) -> list[str]:
    """The signed terms of a name without their styling, in any order: ``y + x`` is ``x + y``."""
    plain = re.sub(rf"{_TEXT_COMMAND}(?=\s*\{{)", "", name)
    signed = re.sub(r"[^\w'+-]", "", plain)
    return sorted(re.findall(r"-?[^+-]+", signed))
