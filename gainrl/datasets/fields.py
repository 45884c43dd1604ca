"""Reads the fields of a record into the types of a problem, or says which field of which line is at fault."""

from __future__ import annotations

import math
from typing import Any

from gainrl.datasets.json_lines import Line

_LARGEST_LEVEL = 2**31 - 1
_KINDS = {dict: "an object", list: "a list", tuple: "a list", bool: "true or false"}


def text(value: Any, line: Line, field: str | None, advice: str = "give a text or a number") -> str:
    """A text or a number as text without space around it; empty where the field is missing."""
    if value is None:
        return ""
    if isinstance(value, (dict, list, tuple)):
        raise line.fault(f"field {field!r} is {_kind(value)} ({_shown(value)}); {advice}")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise line.fault(f"field {field!r} is {value}, which is not a finite number; {advice}")
        return str(int(value)) if value.is_integer() else str(value)
    return str(value).strip()


def plain_text(value: Any, line: Line, field: str | None) -> str | None:
    """A text as it is, or None."""
    if value is not None and not isinstance(value, str):
        raise line.fault(f"field {field!r} is {_kind(value)} ({_shown(value)}) and no text; join it into one text")
    return value


def level(value: Any, line: Line, field: str | None) -> int | None:
    """A difficulty class: a whole number from 1, the easiest; a text of digits counts."""
    if value is None:
        return None
    number = _number(value)
    if not (number.is_integer() and 1 <= number <= _LARGEST_LEVEL):
        raise line.fault(
            f"field {field!r} is {_shown(value)}, which is not a level: give whole numbers from 1, the easiest, or "
            "name another field with dataset.level=<field> (null for none)"
        )
    return int(number)


def difficulty(value: Any, line: Line, field: str | None) -> float | None:
    """A finite number that grows with hardness; a text of digits counts."""
    if value is None:
        return None
    number = _number(value)
    if not math.isfinite(number):
        raise line.fault(
            f"field {field!r} is {_shown(value)}, which is not a number: correct it, or name another field with "
            "dataset.difficulty=<field> (null for none)"
        )
    return number


def _number(value: Any) -> float:
    """A number, or the number that a text writes; NaN where the field is missing."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def _shown(value: Any) -> str:
    written = repr(value)
    return written if len(written) <= 40 else f"{written[:40]}..."
