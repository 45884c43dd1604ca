"""Shows the progress of something long: in place on a terminal, a line now and then in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console

_SECONDS_BETWEEN_LINES = 15.0


def reporter(console: Console, show: Callable[[str], None] | None = None) -> Callable[[object], None]:
    """A callback that takes the progress as something printable.

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
