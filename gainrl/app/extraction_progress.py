"""How far an extraction is, for people: in place on a terminal, now and then in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console

from gainrl.signals.progress import Progress

_SECONDS_BETWEEN_LINES = 30.0


def reporter(console: Console, show: Callable[[str], None] | None = None) -> Callable[[Progress], None]:
    """For `extract`: calls ``show`` on a terminal; elsewhere, and without it, prints a line now and then."""
    said = time.monotonic()

    def report(progress: Progress) -> None:
        nonlocal said
        if console.is_terminal and show is not None:
            show(str(progress))
        elif time.monotonic() - said >= _SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            console.print(str(progress), highlight=False)

    return report
