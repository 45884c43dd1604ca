"""From a completion to a program.

The rule: the last fenced block marked as Python, else the last fenced block without a language, else the whole
text. An opening fence that is never closed counts up to the end of the text. Only what `functional.thinking` leaves of
the completion is looked at, so that a program inside a thinking part never counts.
"""

from __future__ import annotations

import ast
import re

from gainrl.functional.thinking import Thinking
from gainrl.types import Problem

DEFAULT_THINKING = Thinking()

FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([A-Za-z0-9_+.-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.S | re.M)
PYTHON = {"python", "py", "python3"}


def extract_code(completion: str, thinking: Thinking = DEFAULT_THINKING) -> str | None:
    """The program in ``completion`` by the rule above; None where there is no program."""
    completion = thinking.answer_part(completion)
    blocks = [(language.lower(), body) for _, language, body in FENCE.findall(completion)]
    for wanted in (PYTHON, {""}):
        programs = [body for language, body in blocks if language in wanted and body.strip()]
        if programs:
            return programs[-1]
    return completion if completion.strip() and not blocks else None


def assemble(completion: str, problem: Problem, thinking: Thinking = DEFAULT_THINKING) -> str | None:
    """The program to run for ``problem``; None where the completion holds no program.

    For a problem whose text is the start of a program (HumanEval: a signature with docstring), code that defines
    the entry point gets the text's imports and helpers in front, and code that does not is read as its
    continuation.
    """
    code = extract_code(completion, thinking)
    entry_point = problem.extra.get("entry_point")
    start = prompt_header(problem.question, entry_point)
    if code is None or start is None:
        return code
    name = re.escape(str(entry_point))
    if re.search(rf"^(async\s+)?(def|class)\s+{name}\b|^{name}\s*=", code, re.M):
        return f"{start}\n{code}" if "from __future__" not in code else code
    return problem.question + code


def prompt_header(question: str, entry_point: str | None) -> str | None:
    """The text before the entry point's definition, where the question is Python that defines it; else None."""
    if not entry_point:
        return None
    try:
        tree = ast.parse(question)
    except (SyntaxError, ValueError, RecursionError):
        return None
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == entry_point:
            return "".join(question.splitlines(keepends=True)[: node.lineno - 1])
    return None
