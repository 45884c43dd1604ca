import pytest

from gainrl.rewards.format import FormatReward
from gainrl.types import Problem

PROBLEM = Problem("p", "?", "5")


def fits(completion: str, **settings: object) -> bool:
    [verdict] = FormatReward(**settings).score([completion], [PROBLEM])  # type: ignore[arg-type]
    assert verdict.value == float(verdict.correct)
    return verdict.correct


@pytest.mark.parametrize(
    ("completion", "forbidden", "optional", "required"),
    [
        (r"\boxed{5}", True, True, False),
        (r"<think>so</think>\boxed{5}", False, True, True),
        (r"<think>so \boxed{5}</think> done", False, False, False),
        (r"<think>a</think><think>b</think>\boxed{5}", False, False, False),
        (r"<think></think>\boxed{5}", False, False, False),
        (r"<think>so \boxed{5}", False, False, False),
        (r"text <think>so</think>\boxed{5}", False, False, False),
        (r"\boxed{}", False, False, False),
        ("5", False, False, False),
    ],
)
def test_the_rule_for_thinking_parts(completion: str, forbidden: bool, optional: bool, required: bool) -> None:
    assert fits(completion, thinking="none") is forbidden
    assert fits(completion, thinking="optional") is optional
    assert fits(completion, thinking="required") is required


def test_a_wrong_answer_in_the_right_format_fits() -> None:
    assert fits(r"\boxed{6}")


def test_the_prompt_may_open_the_thinking_part() -> None:
    assert fits(r"so</think>\boxed{5}", thinking="required", prompt_opens_thinking=True)
    assert not fits(r"<think>so</think>\boxed{5}", thinking="required", prompt_opens_thinking=True)


def test_settings_that_contradict_are_refused() -> None:
    with pytest.raises(ValueError, match="none, optional, required"):
        FormatReward(thinking="never")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="contradicts"):
        FormatReward(thinking="none", prompt_opens_thinking=True)
