"""Tests and candidate as two threads of this process, joined as in the sandbox."""

import ast
import socket
import threading

import pytest

from gainrl.rewards.code.inside import candidate, wire
from gainrl.rewards.code.inside.remote import Candidate
from gainrl.rewards.code.inside.tester import free_names, run_tests

POINT = """
class Point:
    def __init__(self, x): self.x = x
    def __eq__(self, other): return self.x == other.x
    def shifted(self, by): return Point(self.x + by)
    def __iter__(self): return iter([self.x, self.x])
"""


def outcome(program, tests, prelude="", entry_point=None, limit=1 << 20):
    ours, theirs = socket.socketpair()
    server = threading.Thread(target=candidate.serve, args=(program, theirs.fileno()), daemon=True)
    server.start()
    try:
        return run_tests(tests, prelude, entry_point, Candidate(ours.fileno(), limit))
    finally:
        ours.close()
        server.join()
        theirs.close()


def test_right_functions_pass():
    assert outcome("def f(x): return [x, (x,)]", "assert f(1) == [1, (1,)]\nassert f(x='a') == ['a', ('a',)]") == (
        "pass",
        "",
    )


def test_the_failed_line_is_named():
    assert outcome("def f(x): return x", "assert f(1) == 1\nassert f(2) == 3") == (
        "wrong",
        "AssertionError (line 2 of the tests)",
    )


def test_exceptions_of_the_candidate_are_not_wrong_answers():
    assert outcome("def f(x): return 1 / x", "f(0)") == ("runtime_error", "ZeroDivisionError: division by zero")


def test_tests_may_expect_exceptions():
    tests = "try:\n    f(0)\nexcept ValueError as e:\n    assert str(e) == 'no'\nelse:\n    assert False\n"
    assert outcome("def f(x): raise ValueError('no')", tests)[0] == "pass"
    assert outcome("def f(x): return 0", tests)[0] == "wrong"


def test_classes_of_the_candidate_can_be_used():
    tests = "p = Point(3)\nassert p.x == 3\np.x = 4\nassert p.shifted(1).x == 5\nassert p.shifted(1) == Point(5)\nassert list(p) == [4, 4]\n"  # noqa: E501
    assert outcome(POINT, tests) == ("pass", "")


def test_functions_may_change_their_arguments():
    tests = "a = [3, 1]\nassert f(a) is None\nassert a == [1, 3]\n"
    assert outcome("def f(a): a.sort()", tests) == ("pass", "")


def test_generators_and_views_can_be_listed():
    assert outcome("def f(n):\n    yield from range(n)", "assert list(f(3)) == [0, 1, 2]")[0] == "pass"
    assert outcome("def f(d): return d.keys()", "assert sorted(f({1: 2})) == [1]")[0] == "pass"


AGREEABLE = (
    "f() == 7", "f() < 1e-6", "abs(f() - 7) < 1", "7 in [f()]", "f() in (7, 8)", "not f() != 7", "7 == f()",
    "isinstance(f(), int)", "int(f()) == 5", "round(f()) == 5",
)  # fmt: skip


@pytest.mark.parametrize("test", [f"assert {text}" for text in AGREEABLE])
def test_an_object_that_agrees_with_everything_passes_nothing(test):
    program = """
class Agrees:
    def agree(self, *others): return True
    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __bool__ = agree
    __ne__ = lambda self, other: False
    def same(self, *others): return self
    __sub__ = __rsub__ = __abs__ = __add__ = same
    def __int__(self): return 5
    __index__ = __round__ = __float__ = __int__
    __hash__ = object.__hash__
f = Agrees
"""
    assert outcome(program, test)[0] == "wrong"


def test_helpers_of_the_problem_are_not_the_candidates_to_redefine():
    program = "def poly(x): return 0\ndef zero(): return 3"
    tests = "assert poly(zero()) == 0"
    assert outcome(program, tests, entry_point="zero")[0] == "pass"
    assert outcome(program, tests, prelude="def poly(x): return x - 2", entry_point="zero")[0] == "wrong"


def test_modules_are_the_tests_own():
    program = "import types\nmath = types.ModuleType('math')\nmath.floor = lambda x: 9\ndef f(): return 9"
    assert outcome(program, "assert math.floor(5.5) == f()")[0] == "wrong"
    assert outcome("import math\ndef f(): return 5", "assert math.floor(5.5) == f()")[0] == "pass"


def test_a_program_without_the_function_is_wrong():
    assert outcome("g = 1", "assert True", entry_point="f") == ("wrong", "NameError: the program defines no function f")


def test_too_much_returned_is_the_output_limit():
    assert outcome("def f(): return 'x' * 100000", "try:\n    f()\nexcept:\n    pass", limit=1000)[0] == "output_limit"


@pytest.mark.parametrize("tests", ["assert f(", "assert f(lambda: 0) == 1", "f(object())"])
def test_tests_that_cannot_be_run_are_a_fault_of_the_data(tests):
    assert outcome("def f(x): return 1", tests)[0] == "unsupported_test"


@pytest.mark.parametrize(
    "reply",
    [
        "x",
        [],
        {},
        {"value": {"print": 1}},
        {"value": [1, 2, 3]},
        {"value": [{"int": "z"}, {}]},
        {"value": [1, {"9": []}]},
    ],
)
def test_replies_nobody_would_send_pass_nothing(reply):
    ours, theirs = socket.socketpair()

    def lie():
        wire.receive(theirs.fileno(), 1 << 20)
        wire.send(theirs.fileno(), {"value": [{"value": {"object": 0}}]})
        wire.receive(theirs.fileno(), 1 << 20)
        wire.send(theirs.fileno(), reply)

    liar = threading.Thread(target=lie)
    liar.start()
    verdict, _ = run_tests("assert f(1) == 7", "", "f", Candidate(ours.fileno(), 1 << 20))
    liar.join()
    ours.close()
    theirs.close()
    assert verdict in ("wrong", "runtime_error")


def test_a_candidate_that_goes_away_cannot_be_swallowed_by_a_bare_except():
    ours, theirs = socket.socketpair()
    theirs.close()
    assert run_tests("try:\n    f()\nexcept:\n    pass", "", "f", Candidate(ours.fileno(), 100))[0] == "candidate_gone"
    ours.close()


def test_free_names_are_those_that_neither_tests_nor_python_define():
    tests = "import os.path as p\nfrom re import sub\ndef check(f):\n    x = f(len([y for y in g()]))\n    return p, sub, x\ncheck(h)"  # noqa: E501
    assert free_names(ast.parse(tests), None) == ["f", "g", "h"]
    assert free_names(ast.parse(tests), "max") == ["f", "g", "h", "max"]


def test_the_candidate_process_reports_how_a_script_ended(monkeypatch, capsys):
    monkeypatch.setattr(candidate, "finish", lambda: None)
    programs = (
        "pass",
        "raise SystemExit",
        "raise SystemExit(3)",
        "raise SystemExit('bye')",
        "1 / 0",
        "raise MemoryError",
        "a b",
    )
    assert [candidate.run_script(program) for program in programs] == [0, 0, 3, 1, 1, 97, 1]
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().err
