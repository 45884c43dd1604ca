"""Running totals, the embedded task: add up signed digits one by one and write every total.

    question  a7 b+2 c-5        answer  a7 b+2=9 c-5=4

Totals stay within ``0 .. largest_total``, so that every step of a chain of any length is one of the same few facts, and
every term carries a letter, so that it can be found by what it is called and not by counting. An answer counts only if
all its totals are right: guessing pays nothing, and whoever masters a chain has mastered all shorter ones.

The entries have the form of reasoning-gym's (arXiv 2505.24760), none of whose own tasks asks for partial results:
``chain_sum`` wants the last one, which one guess in ten gets right here. Workers that score it find
`score_answer` by the name of this module, and need not import reasoning-gym, which takes two seconds.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from string import ascii_lowercase
from typing import Any

TASK = "running_totals"


def running_totals(index: int, *, terms: int, largest_total: int, seed: int) -> dict[str, Any]:
    """Entry ``index`` with ``terms`` terms of one digit, and totals from 0 to ``largest_total``.

    It depends on the arguments only.
    """
    draw = random.Random(f"{seed}/{index}")
    draw.randint(terms, terms)  # spends what a draw of the number of terms once spent, so that problems stay the same
    total = draw.randint(0, min(9, largest_total))
    question, answer = [f"a{total}"], [f"a{total}"]
    for letter in ascii_lowercase[1:terms]:
        digit = draw.randint(0, 9)
        sign = draw.choice("+-")
        while not 0 <= (changed := total + digit if sign == "+" else total - digit) <= largest_total:
            digit, sign = draw.randint(0, 9), draw.choice("+-")
        total = changed
        question.append(f"{letter}{sign}{digit}")
        answer.append(f"{letter}{sign}{digit}={total}")
    return {
        "question": " ".join(question),
        "answer": " ".join(answer),
        "metadata": {"source_dataset": TASK, "source_index": index, "terms": terms},
    }


def score_answer(answer: str | None, entry: Mapping[str, Any]) -> float:
    """1.0 if every step is as it should be, white space aside; else 0.0."""
    return float(answer is not None and "".join(answer.split()) == "".join(entry["answer"].split()))
