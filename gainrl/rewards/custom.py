"""A user's own reward, named by its import path.

The function may be as short as three lines::

    def score(completion: str, problem: Problem) -> float | Verdict:
        value = 1.0 if problem.reference_answer in completion else 0.0
        return value
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from gainrl.rewards.verdicts import check_setting, checked, number, value_fault
from gainrl.types import Judgement, Problem, Verdict

logger = logging.getLogger(__name__)


class CustomReward:
    """Calls ``function(completion, problem)`` for every completion.

    ``path``: ``package.module:function``, or ``file.py:function`` relative to where the command runs. A number is the
    value that trains, and counts as correct from ``correct_at`` up; a `Verdict` is taken as it is.

    An exception, a value that cannot train (`verdicts.checked`) or another type is an error verdict: the completion
    leaves its group and is counted in ``failures``; the first one is logged with its traceback. Raises ValueError for
    a path that leads to no function of two arguments, a file that cannot be run, and a threshold that is not a number.
    """

    def __init__(self, *, path: str, correct_at: float = 1.0) -> None:
        self.correct_at = check_setting("correct_at", correct_at)
        self.function = load_function(path)
        self.path = path
        self.failures = 0

    def score(self, completions: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        """One verdict per completion."""
        return [self._judge(text, problem) for text, problem in zip(completions, problems, strict=True)]

    def _judge(self, completion: str, problem: Problem) -> Verdict:
        try:
            [verdict] = checked([self._verdict(self.function(completion, problem))], 1, self.path)
        except (Exception, SystemExit) as fault:  # a user's code
            verdict = Verdict(Judgement.ERROR, 0.0, detail=f"{type(fault).__name__}: {fault}")
            self._log(verdict, problem, fault)
        else:
            if verdict.judgement is Judgement.ERROR:
                self._log(verdict, problem, None)
        self.failures += verdict.judgement is Judgement.ERROR
        return verdict

    def _verdict(self, result: Any) -> Verdict:
        if isinstance(result, Verdict):
            return result
        value = number(result)
        if value is None:
            return Verdict(Judgement.ERROR, 0.0, detail=value_fault(self.path, result))
        return Verdict(Judgement.CORRECT if value >= self.correct_at else Judgement.WRONG, value)

    def _log(self, verdict: Verdict, problem: Problem, fault: BaseException | None) -> None:
        if self.failures == 0:
            logger.warning("The reward failed on problem %s: %s", problem.id, verdict.detail, exc_info=fault)


def load_function(path: str) -> Callable[[str, Problem], Any]:
    """The function at ``package.module:name`` or ``file.py:name``. Raises ValueError where no function fits."""
    place, separator, name = path.rpartition(":")
    if not separator or not place or not name:
        raise ValueError(f"path={path!r} names no function. Write package.module:function or my_rewards.py:function.")
    module = _module_of_file(path, place) if place.endswith(".py") else _module_of_package(path, place, name)
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"path={path!r}: {place} has no function {name!r}.")
    _check_signature(path, function)
    return function


def _module_of_file(path: str, place: str) -> ModuleType:
    file = Path(place).expanduser().resolve()
    if not file.is_file():
        raise ValueError(f"path={path!r}: there is no file {file}. Paths are relative to the working directory.")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    added = sys.modules.setdefault(file.stem, module) is module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as fault:  # a user's code
        if added:
            del sys.modules[file.stem]
        raise ValueError(
            f"path={path!r}: {file} cannot be run ({type(fault).__name__}: {fault}). Correct it."
        ) from fault
    return module


def _module_of_package(path: str, place: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as missing:
        raise ValueError(
            f"path={path!r}: {missing}. Install the package, add its folder to PYTHONPATH, or write file.py:{name}."
        ) from missing
    except (Exception, SystemExit) as fault:  # a user's code
        raise ValueError(f"path={path!r}: {place} cannot be imported ({type(fault).__name__}: {fault}).") from fault


def _check_signature(path: str, function: Callable[..., Any]) -> None:
    """Raises ValueError where a call with a completion and a problem would fail every time."""
    if inspect.iscoroutinefunction(function):
        raise ValueError(f"path={path!r} is an async function, which nothing awaits. Write def in place of async def.")
    try:
        inspect.signature(function).bind("completion", "problem")
    except TypeError as fault:
        raise ValueError(
            f"path={path!r} cannot be called as function(completion, problem): {fault}. Give it these two parameters."
        ) from None
    except ValueError:  # some functions written in C do not tell their parameters
        return
