"""Ends a command with one sentence and an exit code instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from gainrl.app.errors import EXIT_INTERRUPTED, explain

_exit_code = 0


@contextmanager
def refusals(cannot: str, *, traceback: bool = False) -> Iterator[None]:
    """Within the block, a fault is explained after the heading ``cannot``; `exit_code` remembers it."""
    global _exit_code
    try:
        yield
    except Exception as fault:
        _exit_code = 1
        explain(fault, cannot, traceback=traceback)
    except KeyboardInterrupt:
        _exit_code = EXIT_INTERRUPTED
        Console(stderr=True).print("interrupted; the same command goes on from there")


def exit_code() -> int:
    """0, 1 if the request was refused or failed, 75 if it was interrupted."""
    return _exit_code
