r"""Answers in words: names, days, ``no solution``, and remarks after the answer such as ``for any real c``."""

from __future__ import annotations

import re

_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_PLAIN_WORDS = re.compile(r"\(?[A-Za-z]\)?|[A-Za-z][A-Za-z' .-]{2,}")
_FORMULA = re.compile(r"[\\^_{}=+*/<>]")
_SYMBOLS = {r"\emptyset": "nosolution", r"\{\}": "nosolution", r"\infty": "infinite", r"+\infty": "infinite"}
_SYNONYMS = {
    "none": "nosolution", "nosolutions": "nosolution", "norealsolution": "nosolution", "norealsolutions": "nosolution",
    "nosuchsolution": "nosolution", "thereisnosolution": "nosolution", "therearenosolutions": "nosolution",
    "nosolutionexists": "nosolution", "nosolutionsexist": "nosolution", "emptyset": "nosolution",
    "theemptyset": "nosolution", "empty": "nosolution",
    "infinitelymany": "infinite", "infinity": "infinite", "infinitelymanysolutions": "infinite",
    "dne": "doesnotexist", "thelimitdoesnotexist": "doesnotexist",
}  # fmt: skip
_REMARK = re.compile(
    r"\s*,?\s*(?:\\text\s*\{\s*,?\s*\(?(?:where|with|for (?:any|all|every|each|some)|such that|in which)(?![A-Za-z]).*"
    r"|(?<![A-Za-z\\])(?:where|for (?:any|all|every|each|some)|such that)(?![A-Za-z]).*"
    r"|\(?\s*\\forall.*|[,(]\s*[a-z](?:\s*,\s*[a-z])*\s*\\in\s*\\mathbb\{[ZNQR]\}(?:\^\{?\+\}?)?\s*\)?\s*)$",
    re.DOTALL,
)
_CONDITION = re.compile(r"[<>=]|\\(?:le|ge|ne)(?![A-Za-z])")


def read_words(text: str) -> str | None:
    """The letters of an answer in words (or a choice letter), or None where it is anything else.

    Synonyms of "no solution" and "infinitely many" are one word each, and so are their signs.
    """
    bare = text.replace(" ", "")
    if bare in _SYMBOLS:
        return _SYMBOLS[bare]
    inner = _TEXT.sub(r"\1", text)
    if inner == text and not _PLAIN_WORDS.fullmatch(inner):
        return None
    if _FORMULA.search(inner):
        return None
    letters = re.sub(r"[^0-9a-z]", "", inner.casefold())
    return _SYNONYMS.get(letters, letters) or None


def split_remark(text: str) -> tuple[str, str]:
    """The answer, and the remark after it (``where n > 0``, ``for any real c``) or ''."""
    match = _REMARK.search(text)
    if match is None or not text[: match.start()].strip():
        return text, ""
    return text[: match.start()].strip().rstrip(",").strip(), match.group().strip(" ,")


def remarks_agree(answer: str, reference: str) -> bool:
    """Whether two remarks may stand together: one may be missing, and conditions in both must be spelt alike."""
    if not answer or not reference or not (_CONDITION.search(answer) and _CONDITION.search(reference)):
        return True
    return re.sub(r"[^\w<>=\\+-]", "", answer) == re.sub(r"[^\w<>=\\+-]", "", reference)
