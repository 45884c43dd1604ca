"""Frames and plain-value encoding between the processes of a sandbox.

A frame is a big-endian 32-bit length and that many bytes of ASCII JSON. Values cross as data, never as pickles:
the reader rebuilds only the types listed in `encode`, so that a hostile sender cannot make it run code. Anything
else crosses as the number of an object that stays with its owner.
"""

from __future__ import annotations

import builtins
import json
import os
import struct
from collections import deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_DEPTH = 200
BIG_INT = 1 << 63  # decimal digits of longer integers take quadratic time to read


class FrameTooLong(Exception):
    """The other side announced a frame longer than the reader accepts."""


class Unencodable(TypeError):
    """A value without a plain encoding, where only plain values may cross."""


def read_exactly(fd: int, size: int) -> bytes:
    """``size`` bytes from ``fd``; EOFError if it closes first. Never reads past them."""
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive(fd: int, limit: int) -> Any:
    """The JSON value of the next frame; FrameTooLong beyond ``limit`` bytes, EOFError at the end."""
    (size,) = struct.unpack(">I", read_exactly(fd, 4))
    if size > limit:
        raise FrameTooLong(f"{size} bytes")
    return json.loads(read_exactly(fd, size))


def pack(message: Any) -> bytes:
    body = json.dumps(message).encode("ascii")
    return struct.pack(">I", len(body)) + body


def send(fd: int, message: Any) -> None:
    data = memoryview(pack(message))
    while data:
        data = data[os.write(fd, data) :]


def encode(value: Any, export: Callable[[Any], int] | None = None, depth: int = 0) -> Any:
    """A JSON value for ``value``; subclasses cross as their plain base type.

    ``export(object) -> number`` keeps an object that has no plain form and stands in for it; without it such an
    object raises Unencodable.
    """
    if depth > MAX_DEPTH:
        raise Unencodable("nested too deeply")

    def inner(item: Any) -> Any:
        return encode(item, export, depth + 1)

    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        value = int(value)
        return value if -BIG_INT < value < BIG_INT else {"int": hex(value)}
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return [inner(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[inner(key), inner(item)] for key, item in value.items()]}
    for name, (base, _) in SEQUENCES.items():
        if isinstance(value, base):
            return {name: [inner(item) for item in value]}
    for name, (base, write, _) in SCALARS.items():
        if isinstance(value, base):
            return {name: write(value)}
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return inner(value.item())
    if isinstance(value, type) and any(value is known for known in vars(builtins).values()):
        return {"type": value.__name__}
    if export is None:
        raise Unencodable(f"a {type(value).__name__} cannot be handed over as plain data")
    return {"object": export(value)}


def decode(value: Any, resolve: Callable[[int], Any], depth: int = 0) -> Any:
    """The inverse of `encode`; ``resolve(number)`` gives what stands for an object of the other side.

    Raises ValueError on anything that `encode` does not write.
    """
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")

    def inner(item: Any) -> Any:
        return decode(item, resolve, depth + 1)

    if isinstance(value, list):
        return [inner(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise ValueError("not an encoded value")
    ((name, content),) = value.items()
    if name == "object" and isinstance(content, int):
        return resolve(content)
    if name == "int":
        return int(content, 16)
    if name == "type" and isinstance(vars(builtins).get(content), type):
        return vars(builtins)[content]
    if name == "dict":
        return {inner(key): inner(item) for key, item in content}
    if name in SEQUENCES:
        return SEQUENCES[name][1](inner(item) for item in content)
    if name in SCALARS:
        return SCALARS[name][2](content)
    raise ValueError("not an encoded value")


SEQUENCES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "tuple": (tuple, tuple),
    "set": (set, set),
    "frozenset": (frozenset, frozenset),
    "deque": (deque, deque),
}

SCALARS: dict[str, tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "bytearray": (bytearray, bytearray.hex, bytearray.fromhex),
    "complex": (complex, lambda z: [z.real, z.imag], lambda v: complex(*v)),
    "range": (range, lambda r: [r.start, r.stop, r.step], lambda v: range(*v)),
    "decimal": (Decimal, str, Decimal),
    "fraction": (Fraction, lambda f: [f.numerator, f.denominator], lambda v: Fraction(*v)),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),  # before date, its base class
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "timedelta": (timedelta, lambda d: [d.days, d.seconds, d.microseconds], lambda v: timedelta(*v)),
}
