r"""Reads the unit at the end of an answer: ``\text{ cm}^2``, ``km/h``, ``\text{m}\cdot\text{s}^{-1}``, ``apples``.

A unit is a product of factors: words, powers, ``/`` and ``per``, ``\cdot``. Every word must be the name of a unit or
read as a noun; a word that says something of the value (``hundredths``, ``negative``, ``or more``) is not a unit, and
neither are plain letters that may be variables (``5 xy``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from gainrl.rewards.vocabulary import (
    CONNECTORS,
    LETTERS,
    NO_UNIT,
    POWERS,
    PRODUCTS,
    SCALES,
    SHORT_WORDS,
    SIZELESS,
    SQUARES,
    UNITS,
    Dimensions,
)

MAX_UNIT_CHARACTERS = 80

_TOKEN = re.compile(
    r"\\text\s*\{(?P<text>[^{}]*)\}|(?P<power>\^\s*(?:\{\s*(-?[0-9])\s*\}|(-?[0-9])))|(?P<degree>\^\\circ\s*(?:[CFK](?![A-Za-z]))?)"
    r"|(?P<greek>\\mu|\\Omega|\\AA)(?![A-Za-z])\s*|(?P<times>\\cdot|\*|⋅|·)|(?P<over>/)|(?P<space>[\s()]+)|(?P<word>[A-Za-zµμΩ]+\.?|[^\x00-\x7f])"
    r"|(?P<digit>[0-9])|(?P<mark>\\?[$€£¥₹¢]|''|'|\")"
)
_TEXT_TOKEN = re.compile(
    r"(?P<over>/)|(?P<word>[A-Za-zµμΩ°€£¥₹¢$][A-Za-z'-]*\.?)|(?P<digit>[0-9])|(?P<power>\^\{?([0-9])\}?)|(?P<skip>[\s,*·]+|\\?\$)"
)
# Where a unit may begin: after a number, a closing bracket, a letter or \pi.
_START = re.compile(
    r"(?<=[0-9A-Za-z.)}\]%!])\s*(?=(?:\\frac\s*\{\s*)?\\text\s*\{)|(?<=[0-9A-Za-z)}])\s*(?=\^\\circ)|(?<=[0-9.)}%!A-Za-z])\s+(?=[A-Za-zµμΩ$€£¥₹¢\\])"
    r"|(?<=[0-9])(?=[A-Za-zµμΩ])|(?<=[0-9])\s*(?=[^\x00-\x7f]|\\(?:mu|Omega|AA|\$)|[$'\"])"
)
_FRACTION = re.compile(r"\\frac\s*\{((?:\s*\\text\s*\{[^{}]*\}|[^{}])*)\}\s*\{((?:\s*\\text\s*\{[^{}]*\}|[^{}])*)\}")
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_LONE_LETTER = re.compile(r"[A-Za-z](?![A-Za-z])")
_GREEK = {r"\mu": "μ", r"\Omega": "Ω", r"\AA": "Å"}
_VOWEL, _CONSONANT = re.compile("[aeiouy]", re.IGNORECASE), re.compile("[^aeiou]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: its size in base units and its dimension, or None where a word in it has no size (``apples``).

    ``factor`` is what words such as ``million`` and ``hundredths`` do to the number. ``ambiguous``: letters without
    ``\\text``, which may be variables as well (``m``, ``mg``).
    """

    size: Fraction = Fraction(1)
    dimensions: Dimensions | None = None
    factor: Fraction = Fraction(1)
    ambiguous: bool = False


@lru_cache(maxsize=4096)
def split_unit(text: str) -> tuple[str, Unit | None]:
    """What stands before the unit at the end of a cleaned text, and the unit; the text itself and None without one."""
    for start in _START.finditer(text):
        head, tail = text[: start.start()].strip(), text[start.end() :]
        if start.end() == start.start() and _LONE_LETTER.match(tail):
            continue  # 27m^2 is a product
        if tail.startswith(r"^\circ") and _TRIGONOMETRIC.search(head):
            continue  # the degrees belong to the argument
        if len(tail) <= MAX_UNIT_CHARACTERS and head and not head.endswith((r"\text", "\\", "_", "^")):
            unit = read_unit(tail)
            if unit is not None and head.count("{") == head.count("}"):
                return head, unit
    return text, None


def size_ratio(left: Unit | None, right: Unit | None) -> Fraction | None:
    """How many of the right unit the left one is; None where they differ in kind.

    It is 1 where either is missing or has no size.
    ``dollars per hour`` may be called ``dollars``, and degrees of a scale ``degrees``.
    """
    if left is None or right is None or left.dimensions is None or right.dimensions is None:
        return Fraction(1)
    if left.dimensions == right.dimensions:
        return left.size / right.size
    kinds = [dict(unit.dimensions or ()) for unit in (left, right)]
    if {"degree"} in (set(kinds[0]), set(kinds[1])) and any(set(kind) & {"celsius", "fahrenheit"} for kind in kinds):
        return Fraction(1)
    above = [{kind: power for kind, power in dimensions.items() if power > 0} for dimensions in kinds]
    return Fraction(1) if above[0] == above[1] and above[0] in kinds else None


def read_unit(tail: str) -> Unit | None:
    """The unit that a whole text spells, or None."""
    words = _words(_FRACTION.sub(r"\1/\2", tail) if tail.startswith(r"\frac") else tail)
    if not words or words[0] in (("a", False), ("an", False), ("the", False)):
        return None
    factor = Fraction(1)
    while words and words[0][0].lower() in SCALES:
        factor *= SCALES[words.pop(0)[0].lower()]
    size, powers, sign, known = Fraction(1), dict[str, int](), 1, True
    pending, last = 1, None  # the power that "square" announces, and the unit that a power would raise
    ambiguous = False
    for word, marked in words:
        if word in ("/", "per"):
            sign, last = -1, None
            continue
        if word == "*":
            continue
        if word.startswith("^"):
            if last is None:
                return None
            size *= last[0] ** (sign * (int(word[1:]) - 1))
            for kind, power in last[1]:
                powers[kind] += sign * power * (int(word[1:]) - 1)
            continue
        lower = word.lower()
        if lower in SQUARES:
            pending = SQUARES[lower]
            continue
        entry = UNITS.get(word) or UNITS.get(lower if len(word) > 2 else word)
        if entry is not None and (
            marked or len(word) > 1 or word in LETTERS or not (word.isascii() and word.isalpha())
        ):
            ambiguous |= not marked and (word in LETTERS or word in PRODUCTS)
            last = entry
            size *= entry[0] ** (sign * pending)
            for kind, power in entry[1]:
                powers[kind] = powers.get(kind, 0) + sign * power * pending
            pending = 1
        elif lower in POWERS and last is not None:
            size *= last[0] ** (sign * (POWERS[lower] - 1))
            for kind, power in last[1]:
                powers[kind] += sign * power * (POWERS[lower] - 1)
        elif _is_noun(word, marked):
            known, last, pending = known and lower in CONNECTORS, (Fraction(1), ()), 1
        else:
            return None
    if pending != 1:  # "square" alone
        return None
    dimensions = tuple(sorted((kind, power) for kind, power in powers.items() if power)) if known and powers else None
    if not powers and all(word.lower() in CONNECTORS for word, _ in words if word[0] not in "^*/"):
        return None if factor == 1 else Unit(factor=factor)
    return Unit(size if dimensions else Fraction(1), dimensions, factor, ambiguous)


def _words(tail: str) -> list[tuple[str, bool]] | None:
    r"""The words of a unit, and whether each stands in ``\text``; None where the text holds anything else."""
    words: list[tuple[str, bool]] = []
    place = 0
    while place < len(tail):
        token = _TOKEN.match(tail, place)
        if token is None:
            return None
        place = token.end()
        if token["text"] is not None:
            inner = _text_words(token["text"])
            if inner is None:
                return None
            words += inner
        elif token["power"]:
            words.append(("^" + (token[3] or token[4]), False))
        elif token["degree"]:
            words.append(("°" + token["degree"][6:].strip(), True))
        elif token["greek"]:
            prefix = _GREEK[token["greek"]]
            unit = (
                re.compile(r"\s*(?:\\text\s*\{\s*)?([A-Za-z]+)(?:\s*\})?").match(tail, place) if prefix == "μ" else None
            )
            if unit:
                prefix, place = prefix + unit[1], unit.end()
            words.append((prefix, True))
        elif token["times"]:
            words.append(("*", False))
        elif token["over"]:
            words.append(("/", False))
        elif token["digit"]:  # cm2
            if not words or not tail[token.start() - 1].isalpha() or token["digit"] not in "23":
                return None
            words.append(("^" + token["digit"], False))
        elif token["word"]:
            words.append((token["word"].rstrip(".") or token["word"], False))
        elif token["mark"]:
            words.append(("$" if "$" in token["mark"] else token["mark"], True))
    return words


def _text_words(text: str) -> list[tuple[str, bool]] | None:
    words: list[tuple[str, bool]] = []
    place = 0
    text = text.replace("(", " ").replace(")", " ")
    while place < len(text):
        token = _TEXT_TOKEN.match(text, place)
        if token is None:
            return None
        place = token.end()
        if token["over"]:
            words.append(("/", True))
        elif token["power"]:
            words.append(("^" + token[5], True))
        elif token["digit"]:
            if not words or token["digit"] not in "23" or not text[token.start() - 1].isalpha():
                return None
            words.append(("^" + token["digit"], True))
        elif token["word"]:
            words.append((token["word"].rstrip(".") or token["word"], True))
    return words


def _is_noun(word: str, marked: bool) -> bool:
    lower = word.lower()
    if lower in NO_UNIT or any(part in NO_UNIT for part in lower.split("-")[1:]):
        return False
    if len(word) == 1 and word.isascii() and word.isalpha() and not marked:
        return lower in CONNECTORS
    if word in SIZELESS or lower in CONNECTORS or lower in SHORT_WORDS or word in ("'", "''", '"'):
        return True
    if not word.isascii() or len(word) < (2 if marked else 4):
        return False
    return bool(_VOWEL.search(word) and _CONSONANT.search(word)) and lower not in "abcdefghijklmnopqrstuvwxyz"
