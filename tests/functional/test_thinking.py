import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gainrl.functional.thinking import MODES, Thinking, opens_thinking

OPTIONAL, REQUIRED, NONE = (Thinking(mode=mode) for mode in ("optional", "required", "none"))
OPENED = Thinking(mode="required", opened=True)
OPENED_OPTIONAL = Thinking(mode="optional", opened=True)


@pytest.mark.parametrize(
    ("completion", "none", "optional", "required", "opened"),
    [
        ("5", "5", "5", "", ""),
        ("<think>a</think>5", "<think>a</think>5", "5", "5", "5"),
        ("<think>a</think>", "<think>a</think>", "", "", ""),
        ("<think>guess 5", "<think>guess 5", "", "", ""),
        ("guess 5. Wait", "guess 5. Wait", "guess 5. Wait", "", ""),
        ("a</think>5", "a</think>5", "5", "", "5"),
        ("</think>5", "</think>5", "5", "", ""),
        ("<think> </think>5", "<think> </think>5", "5", "", ""),
        ("5<think>6", "5<think>6", "5", "", ""),
        ("<think>a</think>5<think>6", "<think>a</think>5<think>6", "5", "5", "5"),
        ("<Thinking>a</thinking>5", "<Thinking>a</thinking>5", "5", "5", "5"),
        ("x<think>a</think>y", "x<think>a</think>y", "x\ny", "x\ny", "y"),
        ("1 < 2", "1 < 2", "1 < 2", "", ""),
        ("", "", "", "", ""),
    ],
)
def test_what_counts_of_a_completion(completion, none, optional, required, opened):
    assert NONE.answer_part(completion) == none
    assert OPTIONAL.answer_part(completion) == optional
    assert REQUIRED.answer_part(completion) == required
    assert OPENED.answer_part(completion) == opened


def test_an_empty_thought_is_enough_where_thinking_is_optional_and_the_prompt_opened_it():
    assert OPENED_OPTIONAL.answer_part("</think>5") == "5"
    assert OPENED_OPTIONAL.answer_part("5") == ""


@given(st.text(alphabet="x<>/think{}\\boxed5", max_size=60))
def test_text_inside_a_closed_thinking_part_is_never_seen(thought):
    assume("</" not in thought)
    assert OPTIONAL.answer_part(f"<think>{thought}</think>after") == "after"


@given(st.text(max_size=60))
def test_an_opened_part_that_is_not_closed_shows_nothing(thought):
    assume("</" not in thought)
    assert OPENED.answer_part(thought) == OPENED_OPTIONAL.answer_part(thought) == ""


@given(st.lists(st.sampled_from(["<think>", "</think>", " ", "a", "b"]), max_size=12).map("".join))
def test_an_opening_tag_in_the_prompt_or_in_the_completion_is_the_same(completion):
    assert OPENED.answer_part(completion) == REQUIRED.answer_part("<think>" + completion)


@pytest.mark.parametrize(
    ("prompt", "opens"),
    [
        ("User: why?\nAssistant: <think>\n", True),
        ("User: why?\nAssistant:", False),
        ("assistant\n<think>\n\n</think>\n\n", False),
        ("Write <think> before you answer.\nAssistant:", False),
    ],
)
def test_a_prompt_opens_thinking_if_it_ends_in_the_tag(prompt, opens):
    assert opens_thinking(prompt) is opens


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="none, optional, required"):
        Thinking(mode="never")
    with pytest.raises(ValueError, match=r"contradicts .*template\.thinking=required"):
        Thinking(mode="none", opened=True)
    with pytest.raises(ValueError, match="neither true nor false"):
        Thinking(opened="yes")
    assert MODES == ("none", "optional", "required")
