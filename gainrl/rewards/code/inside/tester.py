"""The process that runs the tests of a problem against a candidate that lives in another process.

The candidate has neither the tests' frames nor their expected values nor the token within reach, and cannot patch
what the tests use. What it can do is answer calls, by way of the stand-ins of `remote`.
"""

from __future__ import annotations

import ast
import builtins
import os
import random
import traceback
from collections.abc import Callable
from typing import Any

from . import wire
from .remote import Candidate, CandidateGone, TooMuchOutput, UnsupportedTest

TESTS = "tests.py"


def free_names(tree: ast.AST, entry_point: str | None) -> list[str]:
    """Names that the tests read and neither they nor Python define."""
    loaded: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (loaded if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).split(".")[0])
    names = {name for name in loaded - bound if not hasattr(builtins, name)}
    if entry_point and entry_point not in bound:
        names.add(entry_point)
    return sorted(names)


def run_tests(tests: str, prelude: str, entry_point: str | None, candidate: Candidate) -> tuple[str, str]:
    """Outcome and detail; ``pass`` only if every test ran to its end against a candidate that was still there."""
    try:
        trusted = compile(prelude, "prelude.py", "exec")
        tree = ast.parse(tests, TESTS)
        code = compile(tree, TESTS, "exec")
    except (SyntaxError, ValueError) as error:
        return "unsupported_test", f"{type(error).__name__}: {error}"
    random.seed(0)
    names: dict[str, Any] = {"__name__": "tests"}
    try:
        exec(trusted, names)
    except Exception as error:
        return "unsupported_test", f"{type(error).__name__}: {error}"

    def run() -> None:
        wanted = [name for name in free_names(tree, entry_point) if name not in names or name == entry_point]
        names.update(candidate.lookup(wanted))
        if entry_point and not callable(names.get(entry_point)):
            raise NameError(f"the program defines no function {entry_point}")
        exec(code, names)

    return explain(run, candidate)


def explain(run: Callable[[], None], candidate: Candidate) -> tuple[str, str]:
    try:
        run()
    except UnsupportedTest as error:
        return "unsupported_test", str(error)
    except (CandidateGone, TooMuchOutput, KeyboardInterrupt):
        pass
    except BaseException as error:
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        if isinstance(error, MemoryError):
            return "memory", text
        if error is candidate.raised and not isinstance(error, AssertionError):
            return "runtime_error", text
        if candidate.failure is None:
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == TESTS]
            return "wrong", f"{text} (line {lines[-1]} of the tests)" if lines else text
    if isinstance(candidate.failure, TooMuchOutput):
        return "output_limit", "returned more than the output limit"
    return ("candidate_gone", "") if candidate.failure else ("pass", "")


def run(request: int, channel: int, answer: int, limit: int) -> str:
    """Reads the tests from ``request``, which the candidate never sees; writes outcome and token to ``answer``."""
    message = wire.receive(request, wire.BIG_INT)
    os.write(answer, b"1")
    outcome, detail = run_tests(message["tests"], message["prelude"], message["entry_point"], Candidate(channel, limit))
    wire.send(answer, {"outcome": outcome, "detail": detail[:500], "token": message["token"]})
    return outcome
