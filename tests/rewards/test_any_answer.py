"""Whatever a model writes and whatever a data set gives: judges answer, they never raise."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gainrl.functional.thinking import MODES, Thinking
from gainrl.rewards.code.extraction import assemble
from gainrl.rewards.code.outputs import accepted
from gainrl.rewards.code.suites import suite_of
from gainrl.rewards.extraction import final_answer
from gainrl.rewards.format import FormatReward
from gainrl.rewards.math import MathReward
from gainrl.rewards.procedural import read_entry
from gainrl.rewards.references import final_part
from gainrl.types import Judgement, Problem

PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        r"\boxed{",
        "}",
        "{",
        "####",
        "```python\n",
        "```",
        "$",
        "\\",
        "\n",
        "1",
        "x",
        "\ud800",
        "\x00",
    ]
)
TEXTS = st.lists(PIECES | st.text(st.characters(), max_size=4), max_size=12).map("".join)
THINKING = st.builds(Thinking, mode=st.sampled_from(MODES[1:]), opened=st.booleans())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
TESTS = JSON | st.fixed_dictionaries(
    {"inputs": JSON, "outputs": JSON},
    optional={"fn_name": JSON, "alt_outputs": JSON, "tolerance": JSON},
)


@given(TEXTS, THINKING)
@settings(max_examples=200, deadline=None)
def test_any_completion_is_read(completion, thinking):
    problem = Problem("p", completion, completion, extra={"entry_point": "f"})
    final_answer(completion, fallback="last_number", thinking=thinking)
    assemble(completion, problem, thinking)
    final_part(completion)
    accepted(completion, [completion], 1e-6)
    reward = FormatReward(thinking=thinking.mode, prompt_opens_thinking=thinking.opened)
    [verdict] = reward.score([completion], [problem])
    assert verdict.value in (0.0, 1.0)


@given(TESTS, JSON)
@settings(max_examples=150, deadline=None)
def test_any_tests_are_a_suite_or_refused_with_the_name_of_their_problem(tests, entry_point):
    problem = Problem("p17", "Write it.", "", extra={"tests": tests, "entry_point": entry_point, "task": tests})
    for read in (suite_of, read_entry):
        try:
            read(problem)
        except ValueError as fault:
            message = str(fault)
            assert "p17" in message


def test_any_answers_are_judged_and_failures_do_not_train(tmp_path):
    reward = MathReward(workers=1, time_limit_seconds=20.0)
    rows = [
        (r"\boxed{\ud800}", "5"),
        (r"\boxed{5}", "\ud800"),
        ("\x00" * 50 + r"\boxed{\x00}", "\x00"),
        (r"\boxed{" + "{" * 3000 + "}" * 3000 + "}", "5"),
        (r"\boxed{" + "\\frac{1" * 500 + "}", r"\frac{1}{2}"),
        (r"\boxed{1e999999999}", r"10^{10}"),
        ("\u202e" + r"\boxed{5}", "5"),
        (r"\boxed{5}", ""),
        (r"\boxed{__import__('os').abort()}", "x^2"),
    ]
    problems = [Problem(str(place), "?", reference) for place, (_, reference) in enumerate(rows)]
    verdicts = reward.score([completion for completion, _ in rows], problems)
    reward.close()
    assert all(verdict.value == float(verdict.correct) for verdict in verdicts)
    assert [verdict.judgement for verdict in verdicts].count(Judgement.ERROR) == 0
