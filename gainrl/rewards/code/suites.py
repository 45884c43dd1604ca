"""Tests as the code data sets publish them: assertions about functions, or inputs with their outputs."""

from __future__ import annotations

import ast
import hashlib
import json
import keyword
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from gainrl.rewards.code.calls import IMPORTS, assertions
from gainrl.rewards.code.outputs import DEFAULT_TOLERANCE
from gainrl.types import Problem


@dataclass(frozen=True, slots=True)
class AssertSuite:
    """Python text that raises if the program is wrong (HumanEval, MBPP; the calls of APPS, TACO and DeepCoder).

    ``prelude``: trusted definitions the tests may use; ``entry_point``: the function the program has to define;
    ``imports``: a line of imports that the program may take for granted.
    """

    tests: str
    prelude: str = ""
    entry_point: str | None = None
    imports: str = ""


@dataclass(frozen=True, slots=True)
class StdioSuite:
    """What the program reads from stdin, and the tokens it has to print (CodeContests).

    ``alternatives[i]``: further outputs that count for input ``i``; ``tolerance``: of decimals, see `outputs`.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    alternatives: tuple[tuple[str, ...], ...] = ()
    tolerance: float = DEFAULT_TOLERANCE


TestSuite = AssertSuite | StdioSuite


def suite_of(problem: Problem, tolerance: float = DEFAULT_TOLERANCE) -> TestSuite:
    """The tests in ``problem.extra``, under ``tests`` or (APPS, TACO) ``input_output``.

    Python text holds assertions. With ``entry_point``, what the problem's text defines besides it belongs to the tests,
    so that a program that redefines such a helper changes nothing for them; ``test_setup`` goes before text that does
    not start with it.

    A mapping, or its JSON text, has ``inputs`` and ``outputs``. With ``fn_name`` (or ``entry_point`` at the problem)
    they are arguments and results of that function, or of that method of ``Solution``; else a program reads and prints
    them. ``alt_outputs[i]`` may list further outputs that count for input ``i``, and ``tolerance`` replaces the
    reward's own. Raises ValueError if there are no tests, or if they have another form.
    """
    tests = problem.extra.get("tests", problem.extra.get("input_output"))
    entry_point = problem.extra.get("entry_point")
    if isinstance(tests, str) and tests.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):  # Python text may begin with a bracket too
            tests = json.loads(tests)
    if isinstance(tests, Mapping):
        return _suite_of_pairs(problem, tests, tests.get("fn_name") or entry_point, tolerance)
    if isinstance(tests, str) and tests.strip():
        setup = problem.extra.get("test_setup") or ""
        if setup and not tests.startswith(setup):
            tests = f"{setup}\n{tests}"
        fault = _fault_of_assertions(tests)
        if fault:
            raise ValueError(f"problem {problem.id}: {fault}")
        return AssertSuite(tests, helpers_in(problem.question, entry_point), entry_point)
    raise ValueError(
        f"problem {problem.id} has no tests to run: extra['tests'] must be Python text with assertions, "
        "or {'inputs': [...], 'outputs': [...]}"
    )


def _suite_of_pairs(problem: Problem, tests: Mapping[str, Any], name: Any, tolerance: float) -> TestSuite:
    inputs, outputs = (_items(problem, tests, field) for field in ("inputs", "outputs"))
    if not inputs or len(inputs) != len(outputs):
        raise ValueError(f"problem {problem.id}: {len(inputs)} inputs and {len(outputs)} outputs make no tests")
    further = [value if value is not None else [] for value in _items(problem, tests, "alt_outputs")]
    if (further and len(further) != len(inputs)) or not all(isinstance(value, list) for value in further):
        raise ValueError(
            f"problem {problem.id}: alt_outputs must hold one list for each of the {len(inputs)} inputs (or null)"
        )
    tolerance = _tolerance(problem, tests.get("tolerance"), tolerance)
    if not name:
        alternatives = tuple(tuple(map(as_text, value)) for value in further)
        return StdioSuite(tuple(map(as_text, inputs)), tuple(map(as_text, outputs)), alternatives, tolerance)
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"problem {problem.id}: fn_name={name!r} cannot be the name of a function")
    try:
        return AssertSuite(assertions(name, inputs, outputs, further, tolerance), imports=IMPORTS)
    except (ValueError, RecursionError) as fault:
        raise ValueError(f"problem {problem.id}: {fault}") from None


def _items(problem: Problem, tests: Mapping[str, Any], field: str) -> list[Any]:
    value = tests.get(field)
    if value is not None and not isinstance(value, (list, tuple)):
        raise ValueError(f"problem {problem.id}: {field} must be a list with one entry for each test")
    return list(value or ())


def _tolerance(problem: Problem, own: Any, default: float) -> float:
    if own is None:
        return default
    if not isinstance(own, (int, float)) or not (math.isfinite(own) and own >= 0):
        raise ValueError(f"problem {problem.id}: tolerance={own!r} must be a number, 0 or more")
    return float(own)


@lru_cache(maxsize=4096)
def _fault_of_assertions(tests: str) -> str:
    """Why Python text tests nothing; empty if it may fail."""
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
        return f"its tests are not Python: {fault}"
    if any(isinstance(node, (ast.Assert, ast.Raise, ast.Call)) for node in ast.walk(tree)):
        return ""
    return "its tests hold no assertion, so that every program would pass"


def as_text(value: Any) -> str:
    """Input or output of a program; some data sets publish it as a list of lines."""
    if isinstance(value, str):
        return value
    lines: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
    return "\n".join(map(str, lines)) + "\n"


def helpers_in(question: str, entry_point: str | None) -> str:
    """Imports and definitions of a problem's text other than the entry point; empty if the text is not Python."""
    try:
        tree = ast.parse(question)
    except (SyntaxError, ValueError, RecursionError):
        return ""
    kept = [node for node in tree.body if getattr(node, "name", None) != entry_point and is_definition(node)]
    return ast.unparse(ast.Module(kept, [])) if kept and entry_point else ""


def is_definition(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign))


def key_of(program: str, suite: TestSuite) -> str:
    """Hash of program and tests."""
    tests: dict[str, Any] = asdict(suite)
    return hashlib.sha256(json.dumps([program, tests], sort_keys=True).encode()).hexdigest()
