import random
from pathlib import Path

import pytest

from benchmarks.rewritings import CHANGING, KEEPING
from benchmarks.verifier_differential import EXPLAINED, SETS, gainrl_says, pairs_of, read_rows
from tests.published_data import DATA, needs_data


@needs_data
@pytest.mark.parametrize("name", sorted(SETS))
def test_rewritten_references_are_judged_as_they_were_rewritten(name: str) -> None:
    rows = random.Random(1).sample(read_rows(Path(DATA), name), 60)
    pairs = pairs_of(rows, 2)
    known = EXPLAINED.read_text(encoding="utf-8")
    wrong = [
        f"{pair.rewriting} of {pair.reference!r}: {pair.answer!r} ({pair.id})"
        for pair in pairs
        if gainrl_says(pair.answer, pair.reference, pair.is_list) != pair.same and f'"{pair.id}"' not in known
    ]
    assert not wrong, "\n".join(wrong)
    assert {pair.same for pair in pairs} == {True, False}


def test_rewritings_do_what_their_names_say() -> None:
    draws = random.Random(0)
    assert KEEPING["decimal"](r"\frac{3}{8}", draws) == "0.375"
    assert KEEPING["sides swapped"]("y = 2x", draws) == "2x = y"
    assert KEEPING["reordered"](r"\{1, 2, 5\}", draws) == r"\{5, 2, 1\}"
    assert KEEPING["inequality turned"](r"x \le 3", draws) == r"3 \ge x"
    assert CHANGING["sign"]("-7", draws) == "7"
    assert CHANGING["inverted"](r"\frac{3}{8}", draws) == r"\frac{8}{3}"
    assert CHANGING["entries swapped"]("(1,4)", draws) == "(4,1)"
    assert CHANGING["item dropped"]("1, 2, 5", draws) == "1, 2"
    assert CHANGING["sign"]("0", draws) is None
