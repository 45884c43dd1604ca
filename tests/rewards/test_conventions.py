"""docs/verifier.md states what equals what; here every example of the page is judged."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gainrl.rewards.equivalence import compare

PAGE = (Path(__file__).parents[2] / "docs" / "verifier.md").read_text(encoding="utf-8")
RULES = re.findall(r"^- \*\*([^*]+)\*\*:(.+?)(?=^\S|\Z)", PAGE, re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")


def examples(kind: str) -> Iterator[tuple[str, str, str]]:
    """Rule, answer and reference of each example; ``the answer `a` to `b``` in this order only, others in both."""
    for rule, text in RULES:
        for listed in re.findall(rf"^  - {kind}: (.+?)(?=^  - |\Z)", text, re.MULTILINE | re.DOTALL):
            codes = CODE.findall(" ".join(listed.split()))
            for group in CODE.sub("`", " ".join(listed.split())).split(";"):
                left, _, right = re.sub(" (and|to) ", "|", group, count=1).partition("|")
                answers, references = ([codes.pop(0) for _ in range(part.count("`"))] for part in (left, right))
                for answer in answers:
                    for reference in references:
                        yield rule, answer, reference
                        if "the answer" not in group:
                            yield rule, reference, answer


EQUAL, NOT_EQUAL = sorted(set(examples("equal"))), sorted(set(examples("not equal")))


@pytest.mark.parametrize(("rule", "answer", "reference"), EQUAL)
def test_what_the_page_calls_equal_is_correct(rule: str, answer: str, reference: str) -> None:
    assert compare(answer, [reference])[0] == "correct"


@pytest.mark.parametrize(("rule", "answer", "reference"), NOT_EQUAL)
def test_what_the_page_calls_not_equal_is_not_correct(rule: str, answer: str, reference: str) -> None:
    assert compare(answer, [reference])[0] != "correct"


def test_every_rule_of_the_page_has_an_example() -> None:
    assert len(RULES) > 25
    assert {rule for rule, *_ in (*EQUAL, *NOT_EQUAL)} == {rule for rule, _ in RULES}
