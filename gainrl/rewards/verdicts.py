"""Checks what a reward returned, so that no reward can end a run with a number that cannot train."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gainrl.types import Judgement, Verdict

LARGEST_VALUE = 1e6  # float32 keeps seven digits: beyond it, differences of 1 between rewards drown in rounding


def checked(verdicts: Sequence[Any], count: int, source: str) -> list[Verdict]:
    """The verdicts of ``source`` on ``count`` completions, each of them fit to train on.

    One that is not a `Verdict`, or has an unknown judgement or a value that is not a number from ``-LARGEST_VALUE`` to
    ``LARGEST_VALUE``, becomes an error verdict with the reason: its completion leaves its group and is counted.
    Components that are not finite numbers are dropped, since they are only logged.
    Raises ValueError if there is not one verdict for each completion.
    """
    if not isinstance(verdicts, Sequence) or isinstance(verdicts, str):
        raise ValueError(f"{source}.score returned a {type(verdicts).__name__}. Return a list with one Verdict each.")
    if len(verdicts) != count:
        raise ValueError(
            f"{source}.score returned {len(verdicts)} verdicts for {count} completions. Return one for each, in order."
        )
    return [_checked(verdict, source) for verdict in verdicts]


def _checked(verdict: Any, source: str) -> Verdict:
    if not isinstance(verdict, Verdict):
        return _error(f"{source} returned a {type(verdict).__name__} in place of a Verdict")
    try:
        judgement = Judgement(verdict.judgement)
    except ValueError:
        return _error(f"{source} returned the judgement {verdict.judgement!r}; use one of: {', '.join(Judgement)}")
    value = number(verdict.value)
    if value is None and not verdict.excluded:
        return _error(value_fault(source, verdict.value))
    named = verdict.components if isinstance(verdict.components, Mapping) else {}
    parts = {str(name): number(part) for name, part in named.items()}
    sound = {name: part for name, part in parts.items() if part is not None}
    return replace(verdict, judgement=judgement, value=value or 0.0, components=sound)


def number(value: Any) -> float | None:
    """A value as a float, or None unless it is a number from ``-LARGEST_VALUE`` to ``LARGEST_VALUE``."""
    if isinstance(value, (str, bytes)):
        return None
    try:
        converted = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return converted if math.isfinite(converted) and abs(converted) <= LARGEST_VALUE else None


def value_fault(source: str, value: Any) -> str:
    """Why a value cannot train, and what to return instead."""
    return (
        f"{source} returned the value {str(value)[:40]!s}, on which no policy can train. Return a finite number from "
        f"{-LARGEST_VALUE:g} to {LARGEST_VALUE:g}; scale larger rewards down"
    )


def check_setting(name: str, value: Any) -> float:
    """A setting that becomes a reward's value or its weight. Raises ValueError unless it can train."""
    checked = number(value)
    if checked is None:
        raise ValueError(
            f"{name}={value} cannot train. Give a finite number from {-LARGEST_VALUE:g} to {LARGEST_VALUE:g}."
        )
    return checked


def _error(detail: str) -> Verdict:
    return Verdict(Judgement.ERROR, 0.0, detail=detail)
