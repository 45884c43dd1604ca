"""The name that was probably meant: one rule for groups, options, keys, experiments, arms, tasks and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

_CLOSE = 0.7  # of 1 for equal names; below it a proposal would confuse more than it helps
_LISTED = 12  # names that fit into a sentence


def nearest(word: str, known: Iterable[str], *, most: int = 2) -> list[str]:
    """The known names closest to ``word``, the closest first; none if all are far.

    Case and punctuation do not count (``groupsize`` is ``group_size``), a prefix does (``gsm8k`` is ``gsm8k_0.5b``),
    so does a last word (``grpo`` is ``vanilla_grpo``), and for dotted paths parts may be left out (``lr`` is
    ``optimizer.optimizer.lr``). Only names about as close as the closest are returned.
    """
    scored = sorted(
        ((_closeness(word, name), name) for name in dict.fromkeys(map(str, known))),
        key=lambda pair: (-pair[0], len(pair[1])),
    )
    if not scored or scored[0][0] < _CLOSE:
        return []
    best = scored[0][0]
    return [name for score, name in scored[:most] if score > best - 0.02]


def did_you_mean(word: str, known: Iterable[str], *, form: str = "{}") -> str:
    """``did you mean a or b?``, or the list of known names where none is close; ``form`` shows each of them."""
    names = list(dict.fromkeys(map(str, known)))
    close = nearest(word, names)
    if close:
        return f"did you mean {' or '.join(map(form.format, close))}?"
    if not names:
        return "there are none"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"there are {', '.join(names[:_LISTED])}{more}"


def _closeness(word: str, name: str) -> float:
    """1 for names that are equal but for case and punctuation, 0 for names that share nothing."""
    mine, other = _letters(word), _letters(name)
    if not mine or not other:
        return 0.0
    if mine == other:
        return 1.0
    words, names = _parts(word), _parts(name)
    if len(names) > 1 and _within(words, names):
        return 0.96 - 0.01 * (len(names) - len(words))
    if len(mine) > 2 and other.startswith(mine):
        return 0.9 + 0.08 * len(mine) / len(other)
    if len(mine) > 2 and "." not in name and name.lower().endswith(f"_{word.lower()}"):
        return 0.88 + 0.08 * len(mine) / len(other)
    whole = SequenceMatcher(None, mine, other).ratio()
    if len(names) > 1:  # the last part says most
        last = SequenceMatcher(None, words[-1], names[-1]).ratio()
        return max(0.9 * last * (0.95 if len(words) == 1 else 0.8 + 0.2 * whole), 0.9 * whole)
    return whole


def _within(words: list[str], names: list[str]) -> bool:
    """Whether the parts of a path are among those of a longer one, in order, the last at the end."""
    if len(words) >= len(names) or words[-1] != names[-1]:
        return False
    rest = iter(names)
    return all(part in rest for part in words)


def _parts(name: str) -> list[str]:
    return [_letters(part) for part in re.split(r"[./@]", name)] or [""]


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
