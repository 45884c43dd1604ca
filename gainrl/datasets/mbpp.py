"""MBPP: short Python tasks with three assertions each (Austin et al. 2021, arXiv 2108.07732).

374 training tasks and the 500 test tasks. The texts do not name the function, so the question shows the assertions, as
the authors of MBPP do.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from gainrl.datasets.published import PublishedFile, Record, published


def _file(split: str) -> PublishedFile:
    return PublishedFile(
        name=f"mbpp_{split}", config="full", split=split, records=partial(_records, split=split), question=_question
    )


def _question(record: Record) -> str:
    return "\n".join([record["problem"].strip(), "Your code must pass these tests:", *record["test_list"]])


def _records(rows: Iterable[Mapping[str, Any]], *, split: str) -> Iterator[Record]:
    for row in rows:
        setup, *tests = (_unix(text) for text in (row["test_setup_code"], *row["test_list"]))
        yield {
            "id": f"mbpp-{row['task_id']}",
            "problem": row["text"],
            "entry_point": entry_point(tests[0], _unix(row["code"])),
            "tests": "".join(f"{part}\n" for part in (setup, *tests) if part),
            "test_list": tests,
            "test_setup": setup,
            "challenge_tests": [_unix(text) for text in row["challenge_test_list"]],
            "solution": _unix(row["code"]),
            "difficulty": None,
            "source": f"mbpp/{split}",
        }


def entry_point(test: str, solution: str) -> str:
    """The function of ``solution`` that an assertion calls first, else the first name that one calls."""
    called = [
        node.func.id
        for node in ast.walk(ast.parse(test))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    try:
        defined = {node.name for node in ast.walk(ast.parse(solution)) if isinstance(node, ast.FunctionDef)}
    except SyntaxError:
        defined = set()
    own = [name for name in called if name in defined]
    return (own or [name for name in called if not hasattr(builtins, name)] or called)[0]


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


mbpp = published(
    hub="google-research-datasets/mbpp",
    revision="4bb6404fdc6cacfda99d4ac4205087b89d32030c",
    train=_file("train"),
    held_out=_file("test"),
)
