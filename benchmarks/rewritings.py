r"""Answers rewritten so that their value is kept, or so that it changes: what a judge of answers is tried with.

A rewriting is a function from a reference answer to another text, or to None where it does not apply. Whether the
value is kept is known by construction, so that no judge is needed to say what is right.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from fractions import Fraction

Rewriting = Callable[[str, random.Random], str | None]

_INTEGER = re.compile(r"-?[0-9]{1,12}")
_DECIMAL = re.compile(r"-?[0-9]{1,9}\.[0-9]{1,6}")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{([0-9]{1,6})\}\{([0-9]{1,6})\}")
_LETTER = re.compile(r"(?<![A-Za-z\\{])([a-df-hj-z])(?![A-Za-z])")
_PAIR = re.compile(r"(\(|\[)([^()\[\],]+),([^()\[\],]+)(\)|\])")
_SET = re.compile(r"\\\{([^{}()\[\]]+)\\\}")
_NO_LIST = re.compile(r"[()\[\]=$]|\\text|\\in|\\ldots|\.\.\.|\\begin|\b(?:and|or)\b|\{,")
_WORDS = re.compile(r"\\text|\\mbox|\\mathrm|[A-Za-z]{4,}|[0-9]\s+[A-Za-z]{2}|[0-9] m\b|\\begin|\\%|%|\\circ|\$|_")
_RELATION = re.compile(r"<|>|\\l[et]|\\g[et]|\\in|\\approx|\\ne|\\equiv|\\pm|\\cup|\\cap|\\ldots|\\mid|:")


def is_number(text: str) -> bool:
    """Whether a text is an integer, a decimal or a fraction of integers."""
    return any(pattern.fullmatch(text) for pattern in (_INTEGER, _DECIMAL, _FRACTION))


def is_plain(text: str) -> bool:
    """Whether a text is one value: no list, relation, group, word, unit or percentage."""
    return not (_RELATION.search(text) or _WORDS.search(text) or re.search(r"[,;=\[\]|']|\\[{}]", text)) and text != ""


def _value(text: str) -> Fraction | None:
    if match := _FRACTION.fullmatch(text):
        return Fraction(int(match[1] + match[2]), int(match[3])) if int(match[3]) else None
    return Fraction(text) if _INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text) else None


def _spaces(text: str, draws: random.Random) -> str | None:
    return re.sub(r"(?<=[0-9A-Za-z})])([+=<>])(?=[0-9A-Za-z\\({])", r" \1 ", text) if is_plain(text) else rf"\,{text}\,"


def _sized(text: str, draws: random.Random) -> str | None:
    if r"\left" in text or r"\text" in text or ("(" not in text and r"\frac" not in text):
        return None
    return (
        text.replace("(", r"\left(").replace(")", r"\right)").replace(r"\frac", r"\dfrac") if _balanced(text) else None
    )


def _balanced(text: str) -> bool:
    return text.count("(") == text.count(")") and "[" not in text and "]" not in text


def _unit(text: str, draws: random.Random) -> str | None:
    unit = draws.choice(
        (r"\text{ cm}", r"\text{ cm}^2", r"\ \text{m/s}", r"\,\mathrm{kg}", r"\text{ units}", r"\text{ dollars}")
    )
    return text + unit if is_plain(text) and not re.search(r"[-+](?![^{}]*\})", text[1:]) else None


def _plain_unit(text: str, draws: random.Random) -> str | None:
    return (
        f"{text} {draws.choice(('miles', 'hours', 'apples', 'ways', 'square units', 'cm'))}"
        if is_number(text)
        else None
    )


def _currency(text: str, draws: random.Random) -> str | None:
    return draws.choice((r"\$", "$", "€", "USD ")) + text if _INTEGER.fullmatch(text) and text[0] != "-" else None


def _decimal(text: str, draws: random.Random) -> str | None:
    value = _value(text) if _FRACTION.fullmatch(text) else None
    if value is None or 10**6 % value.denominator:
        return None
    return f"{float(value):.6f}".rstrip("0").rstrip(".")


def _fraction(text: str, draws: random.Random) -> str | None:
    value = _value(text) if is_number(text) else None
    factor = draws.randint(2, 9)
    if value is None or value == 0:
        return None
    return ("-" if value < 0 else "") + rf"\frac{{{abs(value.numerator) * factor}}}{{{value.denominator * factor}}}"


def _percent(text: str, draws: random.Random) -> str | None:
    value = _value(text) if _DECIMAL.fullmatch(text) else None
    if value is None or not 0 < value < 1:
        return None
    return f"{float(100 * value):.4f}".rstrip("0").rstrip(".") + r"\%"


def _zeros(text: str, draws: random.Random) -> str | None:
    return (
        text + (".0" if _INTEGER.fullmatch(text) else "00")
        if _INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text)
        else None
    )


def _thousands(text: str, draws: random.Random) -> str | None:
    return (
        f"{int(text):,}".replace(",", draws.choice((",", "{,}", r"\,", r",\!"))) if _INTEGER.fullmatch(text) else None
    )


def _sides(text: str, draws: random.Random) -> str | None:
    left, sign, right = text.partition("=")
    if (
        not sign
        or re.search(r"[=<>,]", right)
        or re.search(r"[<>,\\]$|[,<>]", left)
        or r"\approx" in text
        or "$" in text
    ):
        return None
    return f"{right.strip()} = {left.strip()}"


def _turned(text: str, draws: random.Random) -> str | None:
    match = re.fullmatch(r"([^<>=,]+?)\s*(<|>|\\leq?(?![a-z])|\\geq?(?![a-z]))\s*([^<>=,]+)", text)
    if match is None or _RELATION.search(match[1] + match[3]):
        return None
    sign = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}[match[2].rstrip("q")]
    return f"{match[3].strip()} {sign} {match[1].strip()}"


def _items(text: str) -> tuple[str, list[str]] | None:
    """The pattern of a set or a bare list, and its items; None for anything else."""
    match = _SET.fullmatch(text)
    items = [item.strip() for item in (match[1] if match else text).split(",")]
    if len(items) < 2 or any(item.count("{") != item.count("}") or not item for item in items):
        return None
    if _NO_LIST.search(text) or (not match and (r"\{" in text or _groups_of_digits(text))):
        return None
    return (r"\{%s\}" if match else "%s"), items


def _reordered(text: str, draws: random.Random) -> str | None:
    pattern_and_items = _items(text)
    if pattern_and_items is None:
        return None
    pattern, items = pattern_and_items
    return pattern % ", ".join(reversed(items))


def _groups_of_digits(text: str) -> bool:
    return re.search(r"[0-9],(?:\\!)?\s*[0-9]{3}(?![0-9])", text) is not None


def _named(text: str, draws: random.Random) -> str | None:
    return f"{draws.choice(('x', 'A', 'n', 'f(2)'))} = {text}" if is_number(text) else None


def _chain(text: str, draws: random.Random) -> str | None:
    return rf"{int(text) - 7} + 7 = {text}" if _INTEGER.fullmatch(text) else None


def _terms(text: str, draws: random.Random) -> str | None:
    """``a + b`` as ``b + a``."""
    match = re.fullmatch(r"([^-+=<>,(){}|!]+)\+([^-+=<>,(){}|!]+)", text)
    return f"{match[2].strip()} + {match[1].strip()}" if match and is_plain(text) else None


def _nothing_added(text: str, draws: random.Random) -> str | None:
    return rf"{text} + 0" if is_plain(text) and not is_number(text) and len(text) < 80 else None


def _in_words(text: str, draws: random.Random) -> str | None:
    return (
        draws.choice((r"\textbf{%s}", r"\text{%s}", r"\mathbf{%s}", r"$%s$", r"\boxed{%s}")) % text
        if _INTEGER.fullmatch(text)
        else None
    )


def _digit(text: str, draws: random.Random) -> str | None:
    places = [place.start() for place in re.finditer("[0-9]", text) if text[place.start() - 1 : place.start()] != "_"]
    if not places or r"\ldots" in text or "_{" in text or re.search(r"[01]\s*[A-Za-z(\\]|\^\{?[01]|[01]\}", text):
        return None
    place = draws.choice(places)
    return (
        text[:place]
        + str((int(text[place]) + draws.randint(1, 8)) % 9 + 1 if text[place] == "0" else int(text[place]) % 9 + 1)
        + text[place + 1 :]
    )


def _sign(text: str, draws: random.Random) -> str | None:
    if not is_plain(text) or _value(text) == 0 or re.search(r"[-+](?![^{}]*\})", text[1:]):
        return None
    return text[1:] if text.startswith("-") else "-" + text


def _factor(text: str, draws: random.Random) -> str | None:
    if not is_plain(text) or _value(text) == 0 or r"\infty" in text:
        return None
    return rf"{draws.choice((2, 3, 10))} \cdot \left({text}\right)"


def _one_more(text: str, draws: random.Random) -> str | None:
    return rf"{text} + 1" if is_plain(text) and r"\infty" not in text else None


def _letter(text: str, draws: random.Random) -> str | None:
    letters = sorted(set(_LETTER.findall(text)))
    if not letters or not is_plain(text):
        return None
    old = draws.choice(letters)
    new = draws.choice([letter for letter in "bkmpqtuwyz" if letter not in text])
    return re.sub(rf"(?<![A-Za-z\\{{]){old}(?![A-Za-z])", new, text)


def _letter_added(text: str, draws: random.Random) -> str | None:
    return f"{text} {draws.choice(('x', 'xy', 'pq', 'mn', 'ab'))}" if is_number(text) and _value(text) != 0 else None


def _words_added(text: str, draws: random.Random) -> str | None:
    words = (" hundredths", " below zero", " or more", " million", " negative", ".5", " and a half", " pi", " squared")
    return rf"{text}\text{{{draws.choice(words)}}}" if _INTEGER.fullmatch(text) and text not in ("0", "1") else None


def _dropped(text: str, draws: random.Random) -> str | None:
    pattern_and_items = _items(text)
    if pattern_and_items is None:
        return None
    pattern, items = pattern_and_items
    return pattern % ", ".join(items[:-1])


def _swapped(text: str, draws: random.Random) -> str | None:
    match = _PAIR.fullmatch(text)
    return f"{match[1]}{match[3]},{match[2]}{match[4]}" if match and match[2].strip() != match[3].strip() else None


def _brackets(text: str, draws: random.Random) -> str | None:
    match = _PAIR.fullmatch(text)
    return f"{'[' if match[1] == '(' else '('}{match[2]},{match[3]}{match[4]}" if match else None


def _inverted(text: str, draws: random.Random) -> str | None:
    match = _FRACTION.fullmatch(text)
    return rf"{match[1]}\frac{{{match[3]}}}{{{match[2]}}}" if match and match[2] != match[3] and int(match[2]) else None


def _rootless(text: str, draws: random.Random) -> str | None:
    match = re.search(r"\\sqrt\{([0-9]+)\}", text)
    return (
        text.replace(match.group(), rf"\cdot {match[1]}", 1).lstrip("\\cdot ")
        if match and match[1] not in "01" and is_plain(text)
        else None
    )


KEEPING: dict[str, Rewriting] = {
    "spaces": _spaces, "sized brackets": _sized, "unit": _unit, "plain unit": _plain_unit, "currency": _currency,
    "decimal": _decimal, "fraction": _fraction, "percent": _percent, "zeros": _zeros, "thousands": _thousands,
    "sides swapped": _sides, "inequality turned": _turned, "reordered": _reordered, "named": _named, "chain": _chain,
    "terms swapped": _terms, "zero added": _nothing_added, "styled": _in_words,
}  # fmt: skip
CHANGING: dict[str, Rewriting] = {
    "digit": _digit, "sign": _sign, "factor": _factor, "one more": _one_more, "letter": _letter,
    "letter added": _letter_added, "words added": _words_added, "item dropped": _dropped, "entries swapped": _swapped,
    "brackets": _brackets, "inverted": _inverted, "root dropped": _rootless,
}  # fmt: skip


def rewritten(text: str, rewritings: dict[str, Rewriting], draws: random.Random, most: int) -> list[tuple[str, str]]:
    """At most ``most`` rewritings of a text, drawn from those that apply: names and texts."""
    text = text.strip()
    applicable = [(name, new) for name, rewrite in rewritings.items() if (new := rewrite(text, draws)) and new != text]
    return draws.sample(applicable, min(most, len(applicable)))
