r"""Reads the reference answer where a data set gives a whole worked solution in its place.

Compared as it stands, a solution would make every completion wrong, silently. Its final answer is the text after
``####``, else what its last ``\boxed{}`` holds. A text of many words without either cannot be judged.
"""

from __future__ import annotations

import re

from gainrl.functional.thinking import Thinking
from gainrl.rewards.extraction import final_answer

MANY_WORDS = 25  # the longest answer in words of the published sets has 12
WORDS_OF_SENTENCES = 12
WORDS_OF_A_LINE = 3

_NOT_PROSE = re.compile(r"\\(?:text|mbox|mathrm|textbf|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{2,}")
_SENTENCE_END = re.compile(r"[.!?](?:\s+(?=[A-Z$\\])|\s*$)")
_BOX = re.compile(r"\\(?:boxed|fbox)\b")
_WHOLE = Thinking(mode="none")


def final_part(reference: str) -> str | None:
    """The final answer that a reference gives; None for a solution in words without one."""
    text = reference.strip()
    boxes = len(_BOX.findall(text))
    if boxes > 1 and not is_prose(text, many=WORDS_OF_SENTENCES):  # several answers, each in a box of its own
        return text
    if boxes or "####" in text:
        answer = final_answer(text, thinking=_WHOLE)
        return text if answer is None else answer.text
    return None if is_prose(text) else text


def is_prose(text: str, *, many: int = MANY_WORDS) -> bool:
    """Whether a text consists of sentences or of lines of words rather than of an answer."""
    if len(text) < 2 * WORDS_OF_SENTENCES:
        return False
    lines = [len(_WORD.findall(line)) for line in _NOT_PROSE.sub(" ", text).splitlines()]
    words = sum(lines)
    if words >= many or sum(count >= WORDS_OF_A_LINE for count in lines) >= 2:
        return True
    return words >= WORDS_OF_SENTENCES and len(_SENTENCE_END.findall(text)) >= 2
