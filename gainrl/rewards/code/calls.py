"""Tests that call a function with arguments and compare what it returns (APPS, TACO, DeepCoder, LiveCodeBench).

1. The function is a method of a class ``Solution`` made anew for each call, else a function of the program.
2. An argument list given as text holds one argument a line, as JSON (LiveCodeBench); its result is JSON text too.
3. Lists and tuples are the same, and so are the keys of dictionaries and their text, since JSON has no others.
4. A decimal counts within the tolerance of `outputs`; all else has to be equal.
5. APPS wraps every result in a list of one. Where all results of a problem are such lists, the content counts too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

# What the sites that these problems come from import for their users; starter code does not repeat it.
IMPORTS = "; ".join(
    [
        "import bisect, collections, copy, datetime, functools, heapq, itertools, math, operator",
        "import random, re, string, sys",
        *(
            f"from {name} import *"
            for name in ("math", "bisect", "collections", "functools", "heapq", "itertools", "typing", "builtins")
        ),
    ]
)


def assertions(
    name: str, inputs: Sequence[Any], outputs: Sequence[Any], further: Sequence[Sequence[Any]], tolerance: float
) -> str:
    """Python text that calls function ``name`` and raises where no accepted result comes back.

    ``further[i]``: other results that count for ``inputs[i]``; may be empty. Raises ValueError for arguments that
    cannot be read.
    """
    cases = []
    wrapped = all(isinstance(value, list) and len(value) == 1 for value in outputs)
    for number, (given, expected) in enumerate(zip(inputs, outputs, strict=True)):
        results = [expected, *(further[number] if further else ())]
        if isinstance(given, str):
            arguments = _parsed(given.splitlines(), number, "arguments")
            results = _parsed(
                [text if isinstance(text, str) else json.dumps(text) for text in results], number, "results"
            )
        elif isinstance(given, (list, tuple)):
            arguments = list(given)
            results += [value[0] for value in results[:1]] if wrapped else []
        else:
            raise ValueError(f"the arguments of test {number} are neither a list nor text with one of them a line")
        cases.append((arguments, results))
    return _CALLS.format(name=name, cases=cases, tolerance=tolerance)


def _parsed(lines: Sequence[str], number: int, what: str) -> list[Any]:
    try:
        return [json.loads(line) for line in lines if line.strip()]
    except ValueError as fault:
        raise ValueError(f"the {what} of test {number} are not JSON, one a line: {fault}") from None


# Names with an underscore in front: a program may well define a function `same` of its own.
_CALLS = """
nan, inf = float("nan"), float("inf")

def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {{str(key): _plain(item) for key, item in value.items()}}
    return value

def _same(_returned, expected):
    if isinstance(expected, list):
        return isinstance(_returned, list) and len(_returned) == len(expected) and all(map(_same, _returned, expected))
    if isinstance(expected, dict):
        return (
            isinstance(_returned, dict)
            and _returned.keys() == expected.keys()
            and all(_same(_returned[key], expected[key]) for key in expected)
        )
    if isinstance(expected, float) and isinstance(_returned, (int, float)):
        return _returned == expected or abs(_returned - expected) <= {tolerance!r} * max(1.0, abs(expected))
    return _returned == expected

def _function():
    try:
        return Solution().{name}
    except (NameError, AttributeError):
        return {name}

for _arguments, _results in {cases!r}:
    _returned = _plain(_function()(*_arguments))
    assert any(_same(_returned, _plain(expected)) for expected in _results)
"""
