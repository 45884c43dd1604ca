import json
import random
import re
from pathlib import Path

import pytest

from benchmarks.rewritings import CHANGING, KEEPING
from benchmarks.verifier_differential import (
    EXPLAINED,
    SETS,
    Pair,
    compared,
    explanation,
    gainrl_says,
    judge,
    pairs_of,
    read_rows,
    row_of,
)
from tests.published_data import DATA, needs_data

ENTRIES = json.loads(EXPLAINED.read_text(encoding="utf-8"))
PAGE = Path(__file__).parents[2] / "docs" / "verifier.md"
TABLE = [
    [cell.strip(" *") for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if re.match(rf"\| \**({'|'.join(SETS)}|all)\** ", line)
]


@needs_data
@pytest.mark.parametrize("name", sorted(SETS))
def test_rewritten_references_are_judged_as_they_were_rewritten(name: str) -> None:
    rows = random.Random(1).sample(read_rows(Path(DATA), name), 60)
    pairs = pairs_of(rows, 2)
    verdicts = [gainrl_says(pair.answer, pair.reference, pair.is_list) for pair in pairs]
    _, listed = compared(pairs, verdicts, [pair.same for pair in pairs], ENTRIES)
    wrong = [
        f"{row['kind']}: {row['rewriting']} of {row['reference']!r}: {row['answer']!r} ({row['id']})"
        for row in listed
        if row["reason"] is None
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


PAIRS = [
    Pair("a", "5", "5.0", "zeros", same=True),
    Pair("b", "5", "€5", "currency", same=True),
    Pair("c", "5", "6", "digit", same=False),
    Pair("d", "5", "5 ab", "letter added", same=False),
]


def test_false_verdicts_of_either_judge_are_counted_and_listed() -> None:
    entry = {"kind": "math-verify misses", "rewriting": "currency", "reason": "signs of currency"}
    counts, listed = compared(PAIRS, [True, True, True, False], [True, False, False, True], [entry])
    assert [(row["id"], row["kind"], row["reason"]) for row in listed] == [
        ("b", "math-verify misses", "signs of currency"),
        ("c", "false correct", None),
        ("d", "math-verify accepts", None),
    ]
    assert row_of("all", counts).split() == ["all", "2", "0", "1", "2", "1", "1"]


def test_an_answer_without_a_verdict_counts_as_not_correct() -> None:
    counts, listed = compared(PAIRS[:1], [None], [True], [])
    assert counts["ours wrong, kept"] == 1
    assert listed[0]["kind"] == "false wrong"


def test_an_explanation_fits_in_every_field_that_it_names() -> None:
    entry = {"kind": "false wrong", "rewriting": "currency", "answer": "€", "reference": "^5$", "reason": "why"}
    assert explanation([entry], "false wrong", PAIRS[1]) == "why"
    assert explanation([entry], "false correct", PAIRS[1]) is None
    for other in ({"rewriting": "unit"}, {"answer": "[$]"}, {"reference": "^6"}, {"id": "a"}):
        assert explanation([entry | other], "false wrong", PAIRS[1]) is None


def test_verdicts_of_an_earlier_run_are_not_asked_for_again(tmp_path: Path) -> None:
    known = tmp_path / "set.jsonl"
    verdicts = [True, False, None, False]
    rows = [
        json.dumps([pair.answer, pair.reference, False, verdict]) for pair, verdict in zip(PAIRS, verdicts, strict=True)
    ]
    known.write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert judge("no_such_judge", PAIRS, 1, known) == verdicts


def test_the_published_table_adds_up() -> None:
    names, numbers = [row[0] for row in TABLE], [[int(cell.replace(",", "")) for cell in row[1:]] for row in TABLE]
    assert names == [*SETS, "all"]
    assert [sum(column) for column in zip(*numbers[:-1], strict=True)] == numbers[-1]
    assert all(most is None or numbers[place][0] == most for place, (_, most) in enumerate(SETS.values()))


def test_every_reason_is_on_the_page() -> None:
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert all(entry["reason"] in page for entry in ENTRIES)
