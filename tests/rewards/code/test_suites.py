import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainrl.rewards.code.outputs import accepted
from gainrl.rewards.code.suites import AssertSuite, StdioSuite, key_of, suite_of
from gainrl.types import Problem


def problem(question: str = "Write it.", **extra: object) -> Problem:
    return Problem("p", question, "", extra=extra)


def test_text_is_a_suite_of_assertions():
    assert suite_of(problem(tests="assert f(1) == 2\n", entry_point="f")) == AssertSuite("assert f(1) == 2\n", "", "f")


def test_the_set_up_goes_first_and_only_once():
    assert suite_of(problem(tests="assert f()", test_setup="import math")).tests == "import math\nassert f()"
    assert suite_of(problem(tests="import math\nassert f()", test_setup="import math")).tests.count("math") == 1


def test_what_the_question_defines_beside_the_entry_point_belongs_to_the_tests():
    question = "import math\n\ndef poly(x):\n    return x\n\ndef zero(f):\n    '''Find it.'''\n"
    suite = suite_of(problem(question, tests="assert poly(zero(1)) == 0", entry_point="zero"))
    assert suite.prelude == "import math\n\ndef poly(x):\n    return x"


def test_inputs_and_outputs_are_a_suite_of_runs():
    suite = suite_of(problem(tests={"inputs": ["1\n", ["2", "3"]], "outputs": ["2\n", ["4", "5"]]}))
    assert suite == StdioSuite(("1\n", "2\n3\n"), ("2\n", "4\n5\n"))


@pytest.mark.parametrize(
    "tests", [None, "", "  ", {}, {"inputs": [], "outputs": []}, {"inputs": ["1"], "outputs": []}, ["assert True"]]
)
def test_a_problem_without_tests_is_refused_by_name(tests):
    with pytest.raises(ValueError, match="problem p"):
        suite_of(problem(tests=tests))


def passes(suite, names):
    """Whether the assertions hold for functions of this very process."""
    try:
        exec(suite.tests, dict(names))
    except AssertionError:
        return False
    return True


APPS = {"inputs": [[1, 2], [[3], 4]], "outputs": [[3], [[7]]], "fn_name": "add"}
LIVECODEBENCH = {"inputs": ["1\n2", "[3]\n4"], "outputs": ["3", "[7]"], "fn_name": "add"}


def add(a, b):
    return a + b if isinstance(a, int) else (a[0] + b,)


class Solution:
    def __init__(self):
        self.calls = 0

    def add(self, a, b):
        self.calls += 1
        return add(a, b) if self.calls == 1 else None  # a second call of the same object would not count


@pytest.mark.parametrize("tests", [APPS, LIVECODEBENCH, json.dumps(APPS)], ids=["APPS", "LiveCodeBench", "JSON text"])
@pytest.mark.parametrize("field", ["tests", "input_output"])
def test_a_function_is_called_whether_it_stands_alone_or_in_a_class(field, tests):
    suite = suite_of(problem(**{field: tests}))
    assert passes(suite, {"add": add})
    assert passes(suite, {"Solution": Solution})
    assert passes(suite, {"Solution": int, "add": add})  # a class of that name without the method
    assert not passes(suite, {"add": lambda a, b: 0})


def test_the_name_of_the_function_may_stand_beside_the_tests():
    tests = {"inputs": [[1]], "outputs": [[2]]}
    assert suite_of(problem(tests=tests, entry_point="f")) == suite_of(problem(tests={**tests, "fn_name": "f"}))


def suite_for(outputs, **more):
    return suite_of(problem(tests={"inputs": [[]] * len(outputs), "outputs": outputs, "fn_name": "f", **more}))


@pytest.mark.parametrize(
    ("returned", "outputs", "right"),
    [
        (5, [[5]], True),  # the list of one around every result is APPS's own
        ([5], [[5]], True),
        (5, [[5], [1, 2]], False),  # and is the value where results are lists of any length
        ((1, (2, 3)), [[1, [2, 3]]], True),
        ({1: "a"}, [{"1": "a"}], True),
        ({1: "a", 2: "b"}, [{"1": "a"}], False),
        (0.1 + 0.2, [0.3], True),
        (2, [2.0], True),
        ([1.0000001, 2], [[1.0, 2.0]], True),
        (1.00001, [1.0], False),
        (10**400, [1.0], False),
        (float("nan"), [1.0], False),
        (1.0000001, [1], False),
        ("0.30000001", ["0.3"], False),  # a text is a text
        ([1, 2, 3], [[1, 2]], False),
        (None, [None], True),
    ],
)
def test_results_are_compared_as_json_would_have_them(returned, outputs, right):
    try:
        assert passes(suite_for(outputs[:1] if len(outputs) == 1 else outputs), {"f": lambda: returned}) is right
    except OverflowError:
        assert not right


def test_further_results_count_where_the_data_say_so():
    suite = suite_for(["ab", "c"], alt_outputs=[["ba"], None])
    texts = iter(["ba", "c"])
    assert passes(suite, {"f": lambda: next(texts)})
    assert not passes(suite, {"f": lambda: "ba"})
    suite = suite_of(problem(tests={"inputs": ["1", "2"], "outputs": ["x", "y"], "alt_outputs": [["X"], None]}))
    assert suite.alternatives == (("X",), ())


def test_a_function_called_like_a_helper_of_the_tests_is_still_the_programs():
    for name in ("same", "plain", "function", "results"):
        suite = suite_of(problem(tests={"inputs": [[]], "outputs": [[1]], "fn_name": name}))
        assert passes(suite, {name: lambda: 1})
        assert not passes(suite, {name: lambda: 2})


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ({"inputs": [[1]], "outputs": [[1]], "fn_name": "no name"}, "fn_name='no name' cannot be the name"),
        ({"inputs": [[1]], "outputs": [[1]], "fn_name": "class"}, "cannot be the name"),
        ({"inputs": ["1 2"], "outputs": ["3"], "fn_name": "f"}, "the arguments of test 0 are not JSON"),
        ({"inputs": ["1"], "outputs": ["x"], "fn_name": "f"}, "the results of test 0 are not JSON"),
        ({"inputs": [1], "outputs": [1], "fn_name": "f"}, "neither a list nor text"),
        ({"inputs": ["1"], "outputs": ["1"], "alt_outputs": ["2"]}, "alt_outputs must hold one list for each"),
        ({"inputs": ["1"], "outputs": ["1"], "tolerance": "1%"}, "tolerance='1%' must be a number"),
        ({"inputs": "1", "outputs": "1"}, "inputs must be a list"),
        ("# nothing\nx = 1", "its tests hold no assertion"),
        ("assert f( == 1", "its tests are not Python"),
    ],
)
def test_tests_that_cannot_be_run_are_refused_with_the_reason(tests, reason):
    with pytest.raises(ValueError, match=f"problem p: .*{reason}"):
        suite_of(problem(tests=tests))


def test_json_text_is_never_taken_for_a_program_that_passes():
    assert isinstance(suite_of(problem(tests='{"inputs": ["1"], "outputs": ["1"]}')), StdioSuite)
    with pytest.raises(ValueError, match="has no tests to run"):
        suite_of(problem(tests='[{"input": "1", "output": "1"}]'))


@pytest.mark.parametrize(
    ("expected", "printed", "right"),
    [
        ("5 2 1 \n\n", "5\n2 1", True),
        ("5 2 1", "5 21", False),
        ("1", "1 1", False),
        ("0.5", "0.50", True),
        ("0.5", ".5", True),
        ("0.5", "5e-1", True),
        ("1.0", "1", True),
        ("0.333333", "0.3333333333", True),
        ("0.33", "0.3333333333", False),
        ("0.0", "0.000001", True),
        ("0.0", "0.0000011", False),
        ("1000000.0", "1000001.0", True),  # one in a million
        ("1000000.0", "1000001.1", False),
        ("-0.5", "0.5", False),
        ("1", "1.0", False),  # an integer has to be one
        ("007", "7", False),
        ("x0.5", "x0.50", False),
        ("0.5", "nan", False),
        ("0.5", "0.5f", False),
        ("1e999", "1e999", True),
        ("1e999", "2e999", False),
        ("0.5", "0." + "5" * 500, False),
    ],
)
def test_outputs_are_compared_token_by_token_and_decimals_within_the_tolerance(expected, printed, right):
    assert accepted(printed, [expected], 1e-6) is right


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_decimals_count_as_their_difference_says(expected, value):
    near = abs(value - expected) <= 1e-6 * max(1.0, abs(expected))
    assert accepted(repr(value), [repr(expected)], 1e-6) is near


def test_without_tolerance_only_spellings_of_the_same_number_count():
    assert accepted("0.50", ["0.5"], 0.0)
    assert not accepted("0.5000001", ["0.5"], 0.0)


def test_any_of_several_outputs_counts():
    assert accepted("2 1", ["1 2", "2 1"], 1e-6)
    assert not accepted("2 2", ["1 2", "2 1"], 1e-6)


def test_programs_and_tests_both_tell_keys_apart():
    suites = [AssertSuite("a"), AssertSuite("b"), AssertSuite("a", "p"), StdioSuite(("a",), ("b",))]
    suites.append(StdioSuite(("a",), ("b",), (("c",),)))
    keys = {key_of(program, suite) for program in ("x", "y") for suite in suites}
    assert len(keys) == 10
    assert key_of("x", AssertSuite("a")) == key_of("x", AssertSuite("a"))
