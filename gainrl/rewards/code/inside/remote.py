"""What tests see of a candidate that lives in another process.

Arguments go over as plain data and plain data comes back, so that the candidate learns no more than the arguments
and cannot return an object that claims to be equal to everything.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Iterator
from typing import Any

from . import wire


class CandidateGone(BaseException):
    """The candidate's process ended. Not an Exception, so that no test can take it for an expected one."""


class TooMuchOutput(BaseException):
    """The candidate returned more than the output limit."""


class CandidateError(Exception):
    """Stands for an exception type that only the candidate knows."""


class UnsupportedTest(Exception):
    """The tests hand the candidate something that cannot cross as plain data."""


class Candidate:
    """The other process, seen from the tests. ``limit``: bytes it may return in all."""

    def __init__(self, channel: int, limit: int) -> None:
        self.channel, self.left = channel, limit
        self.failure: BaseException | None = None  # the end of the candidate, should a bare except swallow it
        self.raised: Exception | None = None

    def ask(self, op: str, **request: Any) -> Any:
        if self.failure:
            raise self.failure
        try:
            wire.send(self.channel, {"op": op, **request})
            reply = wire.receive(self.channel, self.left)
        except (EOFError, OSError):
            self.failure = CandidateGone()
            raise self.failure from None
        except wire.FrameTooLong:
            self.failure = TooMuchOutput()
            raise self.failure from None
        except ValueError as error:
            raise CandidateError(f"unreadable reply: {error}") from None
        self.left -= len(str(reply))
        if not isinstance(reply, dict) or "error" in reply:
            self.raised = rebuild_error(reply if isinstance(reply, dict) else {})
            raise self.raised
        return reply.get("value")

    def decode(self, value: Any) -> Any:
        try:
            return wire.decode(value, lambda number: Remote(self, number))
        except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
            raise CandidateError(f"unreadable value: {error}") from None

    def encode(self, value: Any) -> Any:
        return wire.encode(value, as_argument)

    def lookup(self, names: list[str]) -> dict[str, Any]:
        """What the tests mean by their free names; a standard module is the tests' own, whatever the candidate did."""
        values: dict[str, Any] = {}
        for name, entry in zip(names, self.ask("lookup", names=names), strict=True):
            if entry and "value" in entry:
                values[name] = self.decode(entry["value"])
            elif name in sys.stdlib_module_names:
                values[name] = importlib.import_module(name)
        return values


def as_argument(value: Any) -> int:
    if isinstance(value, Remote):
        return object.__getattribute__(value, "_number")
    raise UnsupportedTest(f"an argument of type {type(value).__name__} cannot be handed over as plain data")


def rebuild_error(reply: dict[str, Any]) -> Exception:
    """The built-in exception of that name, or CandidateError."""
    name, message = str(reply.get("error")), str(reply.get("message"))
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:
            pass
    return CandidateError(f"{name}: {message}")


class Remote:
    """An object of the candidate. Equal to other such objects if the candidate says so, never to plain data.

    No arithmetic and no ordering: through them an object could decide a comparison with an expected value.
    """

    __slots__ = ("_candidate", "_number")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, candidate: Candidate, number: int) -> None:
        object.__setattr__(self, "_candidate", candidate)
        object.__setattr__(self, "_number", number)

    def _ask(self, op: str, **request: Any) -> Any:
        return self._candidate.ask(op, on=self._number, **request)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        encode = self._candidate.encode
        reply = self._ask("call", args=[encode(a) for a in args], kwargs={k: encode(v) for k, v in kwargs.items()})
        result, changed = reply
        for position, value in changed.items():
            update(args[int(position)], self._candidate.decode(value))
        return self._candidate.decode(result)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in ("__name__", "__doc__"):
            raise AttributeError(name)  # copying, pickling and other protocols are not the candidate's to answer
        return self._candidate.decode(self._ask("get", name=name))

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("set", name=name, value=self._candidate.encode(value))

    def __getitem__(self, key: Any) -> Any:
        return self._candidate.decode(self._ask("item", key=self._candidate.encode(key)))

    def __iter__(self) -> Iterator[Any]:
        iterator = self._candidate.decode(self._ask("iterate"))
        if not isinstance(iterator, Remote):
            raise TypeError("not iterable")
        while True:
            try:
                value = iterator._ask("next")
            except StopIteration:
                return
            yield self._candidate.decode(value)

    def __next__(self) -> Any:
        return self._candidate.decode(self._ask("next"))

    def __len__(self) -> int:
        return int(self._ask("length"))

    def __bool__(self) -> bool:
        return bool(self._ask("truth"))

    def __str__(self) -> str:
        return str(self._ask("text"))

    def __repr__(self) -> str:
        return str(self._ask("representation"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Remote):
            return False
        return bool(self._ask("equal", other=other._number))


def update(argument: Any, content: Any) -> None:
    """Makes an argument what the candidate made of its copy."""
    if isinstance(argument, list) and isinstance(content, list):
        argument[:] = content
    elif isinstance(argument, (dict, set)) and type(content) in (dict, set):
        argument.clear()
        argument.update(content)
