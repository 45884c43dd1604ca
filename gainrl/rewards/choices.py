r"""Answers to questions with choices: ``C``, ``(C)``, ``\textbf{(C)}\ 12``, ``Option C``, ``C: it grows``.

A choice is its letter, its text, or both. Two choices agree in what both of them give: a letter is compared with a
letter and a text with a text, so that ``C) 12`` is ``C`` and is ``12``, but is neither ``B) 12`` nor ``C) 13``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPENING = (
    r"(?:\\text\s*\{\s*)?(?:(?:the\s+)?(?:correct\s+)?(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s*:?\s*)?(?:\\text\s*\{\s*)?"
)
_LETTER = re.compile(rf"{_OPENING}\(?\s*(?P<letter>[A-Ja-j])\s*\)?\s*[.:]?\s*\}}?\s*\}}?")
_WITH_TEXT = re.compile(
    rf"(?P<style>{_OPENING})\(?\s*(?P<letter>[A-J])\s*(?P<mark>[).:](?!\s*[=+*/^_<>,])|\s-\s|\s(?=\())\s*(?P<close>\}}?)(?P<text>.+)",
    re.DOTALL,
)
_SECOND = re.compile(r"(?<![A-Za-z])[A-J]\s*\)|(?<![A-Za-z])(?:or|and)(?![A-Za-z])")
_PROSE = re.compile(r"[A-Za-z]{2,}[ ,]+[A-Za-z]{2,}|[A-Za-z]{4,}")


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice: its letter in upper case, and its text or ''."""

    letter: str
    text: str = ""


def read_choice(text: str) -> Choice | None:
    """The choice that a cleaned answer names, or None. Two letters are not a choice."""
    if bare := _LETTER.fullmatch(text):
        return Choice(bare["letter"].upper()) if text.count("(") == text.count(")") or "(" not in text else None
    match = _WITH_TEXT.fullmatch(text)
    if match is None or (match["mark"] != ")" and text.startswith("(") and ")" not in match["text"]):
        return None
    chosen = match["text"].strip()
    if match["style"].rstrip().endswith("{") and not match["close"] and chosen.endswith("}"):  # \text{C) about 5}
        chosen = chosen[:-1].strip()
    if not chosen or _SECOND.search(chosen) or re.match(r"[+*/^_=<>,]", chosen):
        return None
    mark = match["mark"].strip()
    if mark == ")" and not match["style"] and text.startswith("(") and chosen.startswith(("(", "-")):
        return None  # (A)(B), (A) - 5
    if mark in (".", ":", "-") and not _PROSE.search(chosen):
        return None  # A:B is a ratio, E - m a difference
    return Choice(match["letter"].upper(), chosen)
