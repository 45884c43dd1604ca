r"""The structure of an answer: its items at the top level, and the brackets around them."""

from __future__ import annotations

import re

from gainrl.rewards.relations import read_chain

_SEPARATOR = re.compile(r"\\text\s*\{\s*,?\s*(?:and|or)\s*,?\s*\}|,?\s+(?:and|or)\s+|;", re.IGNORECASE)
_GROUPS_IN_A_ROW = re.compile(r"(?:\([^()]*,[^()]*\)\s*){2,}")
_BRACKETS = {"(": ")", "[": "]", r"\{": r"\}"}


def split_items(text: str) -> list[str]:
    r"""The items of a list at the top level of brackets; ``a \pm b`` is two items."""
    if _GROUPS_IN_A_ROW.fullmatch(text):
        text = re.sub(r"\)\s*\(", "),(", text)
    items = _split(_SEPARATOR.sub(",", text))
    if len(items) == 1 and items[0].count(r"\pm") == 1 and read_group(items[0]) is None:
        return [items[0].replace(r"\pm", "+"), items[0].replace(r"\pm", "-")]
    chains = [read_chain(item) for item in items] if len(items) > 1 else []
    if chains and chains[0].name is not None and not any(chain.signs for chain in chains[1:]):  # x = 1, 2
        items[0] = chains[0].value or ""
    return items


def read_group(text: str) -> tuple[str, list[str]] | None:
    r"""The brackets and the items of a text that is one bracketed list, such as ``(1, 2]`` or ``\{3\}``; else None."""
    text = text.strip()
    opening = r"\{" if text.startswith(r"\{") else text[:1]
    if opening not in _BRACKETS:
        return None
    closing = r"\}" if text.endswith(r"\}") else text[-1:]
    if closing not in _BRACKETS.values() or (opening == r"\{") != (closing == r"\}"):
        return None
    inner = text[len(opening) : len(text) - len(closing)]
    if not _closes_at_end(inner):
        return None
    items = _split(inner)
    if len(items) == 1 and opening != r"\{":
        return None  # brackets around one value only set it apart
    return (opening + closing).replace("\\", ""), [item for item in items if item]


def _closes_at_end(inner: str) -> bool:
    depth = 0
    for token in re.findall(r"\\.|[()\[\]{}]", inner):
        if token in ("(", "[", "{", r"\{"):
            depth += 1
        elif token in (")", "]", "}", r"\}"):
            depth -= 1
            if depth < 0:
                return False
    return depth == 0


def _split(text: str) -> list[str]:
    """Parts between the commas that no bracket holds; empty ones are left out, unless nothing is left."""
    parts, depth, start = [], 0, 0
    for token in re.finditer(r"\\.|[()\[\]{},]", text):
        mark = token.group()
        if mark in ("(", "[", "{", r"\{"):
            depth += 1
        elif mark in (")", "]", "}", r"\}"):
            depth = max(depth - 1, 0)
        elif depth == 0 and mark == ",":
            parts.append(text[start : token.start()].strip())
            start = token.end()
    return [part for part in [*parts, text[start:].strip()] if part] or [""]
