"""What generated data sets share: numbers of terms or steps that make levels, and draws without repetition."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

_PATIENCE = 2_000  # draws in a row without a new question, after which a level counts as exhausted

Item = TypeVar("Item")


def check_sizes(**sizes: int) -> None:
    """Raises ValueError for a size below 1, by the name of its option."""
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"dataset.{name}={value} leaves no problems; give 1 or more")


def check_growing(name: str, counts: Sequence[int], least: int, most: int) -> None:
    """Raises ValueError unless ``counts``, one per level, grow and lie within ``least`` and ``most``."""
    if not counts or min(counts) < least or max(counts) > most or list(counts) != sorted(set(counts)):
        raise ValueError(
            f"dataset.{name}={list(counts)} must be growing numbers of {name} from {least} to {most}; type "
            f"dataset.{name}=[2,3,4,5]"
        )


def distinct(draws: Iterable[Item], wanted: int, key: Callable[[Item], Hashable]) -> list[Item]:
    """Up to ``wanted`` (at least 1) draws with different keys, in their order; fewer once nothing new comes."""
    distinct: dict[Hashable, Item] = {}
    since_new = 0
    for item in draws:
        since_new = 0 if key(item) not in distinct else since_new + 1
        distinct.setdefault(key(item), item)
        if len(distinct) == wanted or since_new == _PATIENCE:
            break
    return list(distinct.values())
