r"""Finds the final answer in a completion: the last box, else the text after ``####``, else a declared fallback.

Rules, in this order:

1. Only what `functional.thinking` leaves of the completion counts: nothing inside a thinking part, and nothing at all
   where a part that the prompt opened is never closed.
2. The last complete ``\boxed{...}`` or ``\fbox{...}`` wins; of two nested boxes the inner one. A box that is never
   closed is not a box, so that a completion cut at its token limit falls back on the box before it.
3. Without a box, the rest of the line after the last ``####`` (the mark of GSM8K, arXiv 2110.14168).
4. Without either, the fallback: ``none``, or ``last_number`` for base models that have not learnt the format yet.

Only the last `MAX_VISIBLE_CHARACTERS` of the visible text are read, which bounds the cost of a runaway completion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from gainrl.functional.thinking import Thinking
from gainrl.rewards.numerals import fast_number

Fallback = Literal["none", "last_number"]
FALLBACKS: tuple[Fallback, ...] = ("none", "last_number")
MAX_VISIBLE_CHARACTERS = 100_000
MAX_KEY_CHARACTERS = 1_000
DEFAULT_THINKING = Thinking()

# A backslash takes the next character with it, so that \{ and \} are text and not structure.
_BRACE = re.compile(
    r"\\+(?:boxed|fbox)(?:\s*\{|\s+(?P<bare>[-+]?[0-9]+(?:[.,/][0-9]+)*)(?![0-9A-Za-z^{\\]))|\\.|[{}]", re.DOTALL
)
_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]*([^\n]*)")
_NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?")
_DECORATION = re.compile(r"(?<![0-9])\s+|\s+(?![0-9])|\$|\\(?:left|right|displaystyle)(?![A-Za-z])|\\[,!;: ]")


@dataclass(frozen=True, slots=True)
class Extraction:
    """An answer and the rule by which it was read."""

    text: str
    rule: Literal["box", "hashes", "last_number"]


def last_box(text: str) -> str | None:
    r"""The content of the complete ``\boxed{}`` or ``\fbox{}`` that starts last, or None. ``\boxed 5`` is read too."""
    starts = [place for name in ("boxed", "fbox") if (place := text.find(name)) >= 0]
    if not starts:
        return None
    start = min(starts)  # braces before the first box close nothing of it
    while start and text[start - 1] == "\\":
        start -= 1
    open_braces: list[int] = []  # where the content of a box starts; -1 for any other brace
    last: tuple[int, int] | None = None
    for token in _BRACE.finditer(text, start):
        mark = token.group()
        if token["bare"]:
            if last is None or token.start("bare") > last[0]:
                last = token.span("bare")
        elif mark == "{":
            open_braces.append(-1)
        elif mark == "}":
            if open_braces:
                content = open_braces.pop()
                if content >= 0 and (last is None or content > last[0]):
                    last = content, token.start()
        elif mark.endswith("{") and len(mark) > 2:
            open_braces.append(token.end())
    return None if last is None else text[last[0] : last[1]]


def final_answer(
    completion: str, *, fallback: Fallback = "none", thinking: Thinking = DEFAULT_THINKING
) -> Extraction | None:
    """The final answer of a completion by the rules of this module, stripped; None where there is no answer.

    An empty box is not an answer either.
    """
    text = thinking.answer_part(completion)[-MAX_VISIBLE_CHARACTERS:]
    box = last_box(text)
    if box is not None:
        return Extraction(box.strip(), "box") if box.strip() else None
    lines = _HASHES.findall(text)
    if lines:
        return Extraction(lines[-1].strip(), "hashes") if lines[-1].strip() else None
    if fallback == "last_number":
        numbers = _NUMBER.findall(text)
        if numbers:
            return Extraction(numbers[-1], "last_number")
    return None


def answer_key(answer: str) -> str:
    """A text that equal answers share, for majority votes: the value of a plain number, else the text undecorated.

    It is cheap and errs on the side of telling apart: ``1,000`` and ``1000.0`` agree, ``x+1`` and ``1+x`` do not.
    """
    plain = _DECORATION.sub("", answer[:MAX_KEY_CHARACTERS])
    number = fast_number(plain)
    return plain.replace("dfrac", "frac").replace("tfrac", "frac") if number is None else str(number)


def check_fallback(fallback: str) -> None:
    """Raises ValueError unless ``fallback`` is one of `FALLBACKS`."""
    if fallback not in FALLBACKS:
        raise ValueError(f"fallback={fallback!r} is not a way to read an answer. Use one of: {', '.join(FALLBACKS)}.")
