from collections import Counter

import pytest

from gainrl.datasets.small_programs import small_programs
from gainrl.rewards.code import CodeOutcome, CodeReward, SandboxUnavailable
from gainrl.rewards.code.reward import FEW_ERRORS
from gainrl.types import Judgement, Problem

SQUARE = Problem("s", "Square it.", "", extra={"tests": "assert square(3) == 9\n", "entry_point": "square"})
ECHO = Problem("e", "Echo it.", "", extra={"tests": {"inputs": ["1 2\n"], "outputs": ["1\n2 \n"]}})
RIGHT = "Here:\n```python\ndef square(x):\n    return x * x\n```\nDone."

CALLED = {"inputs": [[[3, 1, 2]], [[0.1, 0.2]]], "outputs": [[[1, 2, 3]], [[0.1, 0.2]]], "fn_name": "ordered"}
ORDERED = Problem("o", "Order them.", "", extra={"tests": CALLED})
IN_A_CLASS = """
class Solution:
    def ordered(self, values: List[float]) -> List[float]:
        heapify(values)
        return [heappop(values) for _ in range(len(values))]
"""
HALF = Problem("h", "Halve it.", "", extra={"tests": {"inputs": ["1\n", "3\n"], "outputs": ["0.50\n", "1.50\n"]}})
PAIR = {"inputs": ["3\n"], "outputs": ["1 2\n"], "alt_outputs": [["2 1\n"]]}

SQUARES_AND_CUBES = """
Roots of the larger powers are exact here after rounding, since n is at most 10^9.
```python
def liked(n):
    squares = int(n ** 0.5 + 1e-9)
    cubes = round(n ** (1 / 3))
    cubes -= cubes ** 3 > n
    both = round(n ** (1 / 6))
    both -= both ** 6 > n
    return squares + cubes - both

for _ in range(int(input())):
    print(liked(int(input())))
```
"""
SORTED_BOOKS = """
```python
import sys
data = sys.stdin.read().split()
n, books = int(data[0]), data[2:]
key = lambda i: [-ord(c) if j % 2 else ord(c) for j, c in enumerate(books[i])]
print(*[i + 1 for i in sorted(range(n), key=key)])
```
"""


@pytest.fixture(scope="module")
def reward():
    try:
        made = CodeReward(workers=2, memory_mb=512, time_limit_seconds=30)  # no verdict hangs on this machine's load
    except SandboxUnavailable as reason:
        pytest.skip(f"programs cannot be isolated here: {reason}")
    yield made
    made.close()


def failing(reward, monkeypatch):
    """The reward with a sandbox that never works."""
    for worker in reward._runner._workers:
        monkeypatch.setattr(worker, "_ask", lambda limits, data: 1 / 0)


@pytest.mark.parametrize(
    ("completion", "problem", "judgement", "detail"),
    [
        (RIGHT, SQUARE, Judgement.CORRECT, "pass"),
        ("print(input())", ECHO, Judgement.CORRECT, "pass"),
        ("def square(x): return x", SQUARE, Judgement.WRONG, "wrong: AssertionError (line 1 of the tests)"),
        ("```python\n```", SQUARE, Judgement.UNPARSABLE, "no_code"),
        ("I do not know.", SQUARE, Judgement.WRONG, "runtime_error: SyntaxError"),
        ("def square(x): return [x] * 10**9", SQUARE, Judgement.WRONG, "memory"),
        ("while True: print('x' * 1000)", ECHO, Judgement.WRONG, "output_limit"),
        ("def square(\ud800): '\x00'", SQUARE, Judgement.WRONG, "runtime_error"),
        (RIGHT, Problem("n", "Square it.", "9"), Judgement.GOLD_UNPARSABLE, "unsupported_test: problem n has no tests"),
    ],
)  # fmt: skip
def test_verdicts(reward, completion, problem, judgement, detail):
    (verdict,) = reward.score([completion], [problem])
    assert verdict.judgement is judgement
    assert verdict.detail.startswith(detail)
    assert verdict.value == float(verdict.correct)


@pytest.mark.parametrize(
    ("completion", "problem", "right"),
    [
        (
            f"```python\n{IN_A_CLASS}```",
            ORDERED,
            True,
        ),  # List and heapify need no import, as on the site they come from
        ("def ordered(values): return sorted(values)", ORDERED, True),
        ("def ordered(values): return tuple(sorted(values))", ORDERED, True),
        ("from __future__ import annotations\ndef ordered(values): return sorted(values)", ORDERED, True),
        ("def ordered(values): return values", ORDERED, False),
        ("def sorted_values(values): return sorted(values)", ORDERED, False),
        ("class Solution:\n    def other(self): pass", ORDERED, False),
        ("print(int(input()) / 2)", HALF, True),
        ("print(int(input()) // 2)", HALF, False),
        ("input(); print(2, 1)", Problem("t", "", "", extra={"tests": PAIR}), True),
        ("input(); print(2, 2)", Problem("t", "", "", extra={"tests": PAIR}), False),
    ],
)
def test_calls_decimals_and_further_outputs(reward, completion, problem, right):
    (verdict,) = reward.score([completion], [problem])
    assert verdict.correct is right, verdict.detail
    assert not verdict.excluded


def test_verdicts_come_in_the_order_of_the_completions(reward):
    wrong = "def square(x): return 1"
    verdicts = reward.score([RIGHT, "print(input())", wrong, RIGHT], [SQUARE, ECHO, SQUARE, SQUARE])
    assert [verdict.correct for verdict in verdicts] == [True, True, False, True]


def test_equal_programs_run_once_in_a_batch_and_never_again(reward, monkeypatch):
    submitted = []
    original = reward._runner.submit
    monkeypatch.setattr(reward._runner, "submit", lambda *a: submitted.append(a) or original(*a))
    program = "def square(x): return x ** 2"
    for _ in range(2):
        assert all(v.correct for v in reward.score([program, f"```python\n{program}\n```", program], [SQUARE] * 3))
    assert len(submitted) == 2  # with and without the line end of the fenced block


def test_failures_of_the_sandbox_are_excluded_not_wrong_and_not_remembered(reward, monkeypatch):
    program = "def square(x): return x * x * 1"
    with monkeypatch.context() as broken:
        failing(reward, broken)
        (verdict,) = reward.score([program], [SQUARE])
    assert verdict.judgement is Judgement.ERROR
    assert verdict.excluded
    assert verdict.detail.startswith("sandbox_error: ZeroDivisionError")
    assert reward.score([program], [SQUARE])[0].correct


def test_a_sandbox_that_keeps_failing_stops_training(reward, monkeypatch):
    failing(reward, monkeypatch)
    programs = [f"def square(x): return x * x + {n}" for n in range(FEW_ERRORS)]
    with pytest.raises(
        RuntimeError, match=r"the sandbox failed for 2\d of the last \d+ programs \(max_error_rate=0.1\)"
    ):
        reward.score(programs, [SQUARE] * FEW_ERRORS)
    reward._recent.clear()


def test_unsafe_is_a_choice_and_leaves_a_stamp():
    unsafe = CodeReward(isolation="unsafe", workers=1)
    assert unsafe.stamp["isolation"] == "unsafe"
    assert unsafe.stamp["contained"] is False
    assert unsafe.score([RIGHT], [SQUARE])[0].correct
    unsafe.close()


def test_the_stamp_names_the_isolation_that_holds(reward):
    assert reward.stamp["isolation"] in ("bubblewrap", "landlock")
    assert reward.stamp["contained"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"isolation": "docker"}, "use auto, bubblewrap, landlock or unsafe"),
        ({"workers": 0}, "at least 1"),
        ({"time_limit_seconds": 0}, "time_limit_seconds=0 leaves a program no room"),
        ({"memory_mb": 16}, "use a number, at least 128"),
        ({"max_error_rate": 10}, "a number from 0 to 1"),
        ({"tolerance": -1.0}, "tolerance=-1.0 is not a distance"),
        ({"thinking": "none", "prompt_opens_thinking": True}, "contradicts"),
    ],
)
def test_senseless_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CodeReward(**options)


def test_every_published_solution_passes(reward, published):
    """All 164 of HumanEval and 974 of MBPP."""
    names = ("humaneval_test", "mbpp_prompt", "mbpp_train", "mbpp_validation", "mbpp_test")
    problems = [problem for name in names for problem in published.problems(name)]
    assert len(problems) == 164 + 974
    verdicts = reward.score([f"```python\n{problem.solution}\n```" for problem in problems], problems)
    failed = {p.id: v.detail for p, v in zip(problems, verdicts, strict=True) if not v.correct}
    assert failed == {}


def test_stubs_fail(reward, published):
    """Every tenth problem; `benchmarks/sandbox.py` takes them all."""
    problems = [*published.problems("humaneval_test")[::10], *published.problems("mbpp_test")[::10]]
    stubs = [f"def {p.extra['entry_point']}(*args, **kwargs):\n    return object()\n" for p in problems]
    outcomes = Counter(verdict.detail.partition(":")[0] for verdict in reward.score(stubs, problems))
    assert set(outcomes) <= {CodeOutcome.WRONG, CodeOutcome.RUNTIME_ERROR}


def test_a_humaneval_body_alone_continues_its_problem(reward, published):
    problems = published.problems("humaneval_test")[::20]
    bodies = [problem.solution.removeprefix(problem.question) for problem in problems]
    assert all(verdict.correct for verdict in reward.score(bodies, problems))


def test_stdin_programs_of_codecontests(reward, published):
    by_id = {problem.id: problem for problem in published.problems("codecontests_test")}
    books, powers = by_id["codecontests-000"], by_id["codecontests-140"]
    verdicts = reward.score([SORTED_BOOKS, SQUARES_AND_CUBES, SORTED_BOOKS], [books, powers, powers])
    assert [verdict.detail.partition(":")[0] for verdict in verdicts] == ["pass", "pass", "runtime_error"]


def test_generated_programs_are_judged_by_what_they_compute_and_not_by_how_they_are_written(reward, tmp_path):
    splits = small_programs(steps=[2, 6], train_per_level=8, held_out_per_level=2, cache_dir=str(tmp_path))
    problems = list(splits.train)
    assert {verdict.judgement for verdict in reward.score([p.solution for p in problems], problems)} == {
        Judgement.CORRECT
    }
    in_one_line = [p.solution.replace("\n ", ";").replace("def f(a):;", "def f(a): ") for p in problems]
    assert {verdict.judgement for verdict in reward.score(in_one_line, problems)} == {Judgement.CORRECT}
    returns_the_argument = [p.solution.rpartition("return ")[0] + "return a\n```" for p in problems]
    assert {verdict.judgement for verdict in reward.score(returns_the_argument, problems)} == {Judgement.WRONG}
