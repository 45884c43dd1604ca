"""One setting of thinking for every reward: unfinished thinking earns nothing, whoever opened it."""

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from gainrl.datasets.templates import PromptTemplate
from gainrl.functional.thinking import Thinking
from gainrl.rewards.code.extraction import assemble
from gainrl.rewards.format import FormatReward
from gainrl.rewards.math import MathReward
from gainrl.rewards.procedural import ProceduralReward
from gainrl.training.collection import completion_texts
from gainrl.types import Judgement, Problem
from tests.composition import composed
from tests.tokenizers_in_code import byte_tokenizer

PROBLEM = Problem("p", "?", "5")
UNFINISHED = r"First guess \boxed{5}. Wait, let me check again"
FINISHED = r"First guess \boxed{6}. No.</think>\boxed{5}"
# In the shape of the published ones: Qwen3 writes both tags itself, or gets an empty part; R1 finds the part open.
QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
R1 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)


@pytest.mark.parametrize(
    ("settings", "unfinished", "finished"),
    [
        ({"thinking": "none"}, "correct", "correct"),  # the last box of the whole text, tags or not
        ({"thinking": "optional"}, "correct", "correct"),
        ({"thinking": "optional", "prompt_opens_thinking": True}, "unparsable", "correct"),
        ({"thinking": "required"}, "unparsable", "unparsable"),  # nobody opened the part that FINISHED closes
        ({"thinking": "required", "prompt_opens_thinking": True}, "unparsable", "correct"),
    ],
)
def test_mathematics_inside_unfinished_thinking_earns_nothing(settings, unfinished, finished):
    reward = MathReward(**settings)
    verdicts = reward.score([UNFINISHED, FINISHED], [PROBLEM] * 2)
    assert [verdict.judgement for verdict in verdicts] == [unfinished, finished]
    assert [verdict.value for verdict in verdicts] == [float(word == "correct") for word in (unfinished, finished)]
    assert (reward.answer_key(UNFINISHED) is None) is (unfinished == "unparsable")  # nor does it vote


@pytest.mark.parametrize("extract", ["boxed", "full"])
def test_a_generated_task_inside_unfinished_thinking_earns_nothing(extract):
    entry = {"question": "2 + 3 =", "answer": "5", "metadata": {}}
    problem = Problem("p", "2 + 3 =", "5", extra={"task": "chain_sum", "entry": entry})
    reward = ProceduralReward(extract=extract, thinking="required", prompt_opens_thinking=True, workers=1)
    [verdict] = reward.score([UNFINISHED], [problem])
    assert (verdict.judgement, verdict.value) == (Judgement.UNPARSABLE, 0.0)


def test_a_program_inside_unfinished_thinking_is_ignored():
    opened = Thinking(mode="required", opened=True)
    draft = "Try\n```python\ndef f(): return 1\n```\nhm"
    assert assemble(draft, PROBLEM, opened) is None
    assert assemble(draft + "</think>\n```python\ndef f(): return 2\n```", PROBLEM, opened) == "def f(): return 2\n"
    assert assemble(draft, PROBLEM, Thinking(mode="required")) is None
    assert assemble("print('<think>')", PROBLEM, Thinking(mode="none")) == "print('<think>')"


def test_the_format_follows_the_same_setting():
    opened = FormatReward(thinking="optional", prompt_opens_thinking=True)
    assert [verdict.correct for verdict in opened.score([UNFINISHED, FINISHED], [PROBLEM] * 2)] == [False, True]


TYPED_ONCE = ("template.thinking=required", "template.opens_thinking=true")


@pytest.mark.parametrize(
    "reward", ["math", "format", "procedural", "weighted", "code"], ids=lambda reward: f"reward={reward}"
)
def test_the_template_says_it_once_for_every_reward(reward):
    node = composed(f"reward={reward}", *TYPED_ONCE).reward
    parts = [node] if reward != "weighted" else [node.components.math, node.components.format]
    assert {(part.thinking, part.prompt_opens_thinking) for part in parts} == {("required", True)}


def test_the_sets_of_an_evaluation_follow_too():
    node = composed("eval=math_suite", *TYPED_ONCE).eval
    assert (node.reward.thinking, node.reward.prompt_opens_thinking) == ("required", True)


def test_a_reward_that_contradicts_the_template_is_refused_when_it_is_built():
    config = composed("reward=math", "reward.thinking=none", *TYPED_ONCE)
    with pytest.raises(InstantiationException, match="contradicts a prompt that opens a thinking part"):
        instantiate(config.reward)


def bound(chat_template, **settings):
    return PromptTemplate(**settings).bind(byte_tokenizer(chat_template))


def test_a_prompt_that_opens_thinking_needs_the_setting_that_says_so():
    with pytest.raises(ValueError, match=r"template\.opens_thinking=true template\.thinking=required"):
        bound(R1)
    assert bound(R1, opens_thinking=True, thinking="required").closing_text.endswith("<think>\n")
    with pytest.raises(ValueError, match=r"opens no thinking part: type template\.opens_thinking=false"):
        bound(QWEN3, opens_thinking=True)
    with pytest.raises(ValueError, match="contradicts"):
        bound(R1, opens_thinking=True, thinking="none")


def test_a_chat_template_that_turns_thinking_off_opens_nothing():
    template = bound(QWEN3, chat_arguments={"enable_thinking": False}, thinking="none")
    assert template.closing_text.endswith("<think>\n\n</think>\n\n")


def test_a_plain_prompt_may_open_thinking():
    form = "Question: {question}\nAnswer: <think>\n"
    assert bound(None, chat="plain", plain_form=form, opens_thinking=True).closing_text == "\nAnswer: <think>\n"


def test_how_completions_are_read_is_not_part_of_the_prompt():
    prints = {bound(QWEN3, thinking=mode).fingerprint for mode in ("none", "optional", "required")}
    assert len(prints) == 1


def test_tags_that_are_special_tokens_are_seen_and_other_special_tokens_are_not():
    tokenizer = byte_tokenizer()
    plain = completion_texts(tokenizer, [tokenizer.encode("a</think>5<|im_end|>")])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    ids = tokenizer.encode("a</think>5<|im_end|>")
    assert len(ids) == 4  # a, the tag, 5, the end of the turn
    assert completion_texts(tokenizer, [ids]) == plain == ["a</think>5"]
