"""How far something long is, for people: in place on a terminal, now and then in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console

_SECONDS_BETWEEN_LINES = 15.0


def reporter(console: Console, show: Callable[[str], None] | None = None) -> Callable[[object], None]:
    """For whatever reports how far it is as something that can be printed.

    Calls ``show`` on a terminal; elsewhere, and without it, prints a line every 15 seconds or so.
    """
    printed = time.monotonic()

    def report(progress: object) -> None:
        nonlocal printed
        if console.is_terminal and show is not None:
            show(str(progress))
        elif time.monotonic() - printed >= _SECONDS_BETWEEN_LINES:
            printed = time.monotonic()
            console.print(str(progress), highlight=False)

    return report
