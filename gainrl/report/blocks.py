"""The blocks of a report in any format: headings, paragraphs, lists, tables, figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gainrl.functional.statistics import Interval

BadgeKind = Literal["better", "not better", "worse", "inconclusive", "finished", "running", "failed", "missing"]


@dataclass(frozen=True, slots=True)
class Cell:
    """``badge`` gives the text a mark of that kind; ``arm`` puts the arm's line sample before it."""

    text: str
    badge: BadgeKind | None = None
    arm: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """``rows`` is what is shown, ``data`` the plain numbers for the CSV file. Columns after ``left`` align right.

    ``groups``: headings over several columns, as (text, number of columns), covering all columns.
    """

    slug: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    data: Sequence[Mapping[str, object]]
    left: int = 1
    groups: Sequence[tuple[str, int]] = ()
    marked_row: int | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    slug: str
    caption: str
    svg: Path


@dataclass(frozen=True, slots=True)
class Heading:
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """``kind``: ``warning`` for a box that must be read first, ``finding`` for results, with ``badges`` per item."""

    title: str
    items: Sequence[str]
    kind: Literal["warning", "finding"]
    badges: Sequence[BadgeKind] = ()


Block = Table | Figure | Heading | Paragraph | Bullets


@dataclass(slots=True)
class Document:
    title: str
    subtitle: str
    blocks: list[Block] = field(default_factory=list)

    def tables(self) -> list[Table]:
        return [block for block in self.blocks if isinstance(block, Table)]


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """A number as readers expect it: a proper minus, a dash for an unknown value."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def ranged(interval: Interval | None, digits: int = 3, *, sign: bool = False) -> str:
    """``estimate [low, high]``."""
    if interval is None:
        return "–"
    if math.isnan(interval.low):
        return number(interval.estimate, digits, sign=sign)
    if math.isinf(interval.low) and math.isinf(interval.high):
        return f"{number(interval.estimate, digits, sign=sign)} [?]"
    ends = f"[{number(interval.low, digits, sign=sign)}, {number(interval.high, digits, sign=sign)}]"
    return f"{number(interval.estimate, digits, sign=sign)} {ends}"


def amount(value: float) -> str:
    """A count in thousands or millions."""
    if math.isnan(value):
        return "–"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    if math.isnan(seconds):
        return "–"
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.0f} s"


def p_value(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
