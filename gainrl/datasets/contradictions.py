"""Finds questions that a data set asks more than once with answers that contradict each other.

Questions are the same if they are equal but for white space: anything looser would join problems that differ in a
sign. Two answers contradict each other if both are plain numbers of different value, or both are plain words. Answers
in LaTeX are left alone: only a judge can tell that ``\\frac{1}{2}`` is ``0.5``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from decimal import Decimal

import numpy as np

from gainrl.datasets.arrow import ArrowProblems

_NUMBER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?", re.ASCII)
_WORDS = re.compile(r"[^\W\d_]+(?:[ '-]+[^\W\d_]+)*")


def contradicted(problems: ArrowProblems) -> np.ndarray:
    """``[N]`` bool: the problems whose question has an answer elsewhere that contradicts theirs."""
    flags = np.zeros(len(problems), dtype=bool)
    for rows in _asked_again(problems):
        asked: defaultdict[str, list[int]] = defaultdict(list)
        for row in rows:
            asked[" ".join(problems[row].question.split())].append(row)
        for same in asked.values():
            values = [_value(problems[row].reference_answer) for row in same]
            if any(len({value for value in values if isinstance(value, kind)}) > 1 for kind in (Decimal, str)):
                flags[same] = True
    return flags


def _asked_again(problems: ArrowProblems) -> list[list[int]]:
    """Groups of rows whose questions are probably the same; only hashes are kept of a million questions."""
    hashes = np.fromiter(
        (hash(" ".join(text.split())) for batch in problems.batches("question") for text in batch.to_pylist()),
        np.int64,
        count=len(problems),
    )
    order = np.argsort(hashes, kind="stable")
    starts = np.flatnonzero(np.diff(hashes[order], prepend=hashes[order[:1]] - 1) != 0)
    ends = np.append(starts[1:], len(order))
    return [order[start:end].tolist() for start, end in zip(starts, ends, strict=True) if end - start > 1]


def _value(answer: str) -> Decimal | str | None:
    """What a plain number or plain words say; None for anything else."""
    plain = answer.strip().strip("$").strip()
    if _NUMBER.fullmatch(plain):
        return Decimal(plain.replace(",", "")).normalize()
    return " ".join(plain.casefold().split()) if _WORDS.fullmatch(plain) else None
