import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainrl.rewards.extraction import MAX_VISIBLE_CHARACTERS, final_answer, last_box


@pytest.mark.parametrize(
    ("completion", "answer", "rule"),
    [
        (r"\boxed{1} and \boxed{2}", "2", "box"),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}", "box"),
        (r"\boxed{2} and \boxed{3", "2", "box"),
        (r"\boxed{\left\{1, 2\right.}", r"\left\{1, 2\right.", "box"),
        (r"\fbox{4} #### 5", "4", "box"),
        (r"so \boxed 5.", "5", "box"),
        (r"first \boxed{3}, then \boxed -1,200", "-1,200", "box"),
        (r"\boxed 3x or \boxed{4}", "4", "box"),
        ("so\n#### 1,234\nthanks", "1,234", "hashes"),
        ("first 3, then -1,250.5 dollars", "-1,250.5", "last_number"),
        ("about 3/4 of it", "3/4", "last_number"),
    ],
)
def test_the_rules_apply_in_their_order(completion: str, answer: str, rule: str) -> None:
    extraction = final_answer(completion, fallback="last_number")
    assert extraction is not None
    assert (extraction.text, extraction.rule) == (answer, rule)


def test_without_a_fallback_a_bare_number_is_not_an_answer() -> None:
    assert final_answer("the answer is 5") is None


def test_an_empty_box_is_not_an_answer_even_where_a_fallback_would_find_one() -> None:
    assert final_answer(r"5 \boxed{}", fallback="last_number") is None


@given(st.text(alphabet="ab{}\\ 5", max_size=40), st.text(alphabet="ab ", max_size=10))
def test_a_box_at_the_end_is_found_whatever_comes_before_it(before: str, inside: str) -> None:
    assert last_box(before.rstrip("\\") + rf" \boxed{{{inside}}}") == inside


def test_ten_megabytes_are_cut_to_the_visible_end() -> None:
    flood = "{" * 10_000_000 + r"\boxed{5}"
    extraction = final_answer(flood)
    assert extraction is not None
    assert extraction.text == "5"
    assert final_answer(r"\boxed{5}" + "x" * MAX_VISIBLE_CHARACTERS) is None
    assert final_answer("<think>" * 1_400_000 + r"\boxed{5}") is None
