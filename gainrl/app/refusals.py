"""How a command ends that can simply be given again: with one sentence instead of a traceback, and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from gainrl.app.errors import EXIT_INTERRUPTED

_exit_code = 0


@contextmanager
def refusals(cannot: str) -> Iterator[None]:
    """Within the block, a fault of the request is said as ``cannot`` and its message; `exit_code` remembers it."""
    global _exit_code
    try:
        yield
    except ValueError as fault:
        _exit_code = 1
        console = Console(stderr=True)
        console.print(f"[bold red]{cannot}:[/bold red] ", end="")
        console.print(str(fault), markup=False, highlight=False)
    except KeyboardInterrupt:
        _exit_code = EXIT_INTERRUPTED
        Console(stderr=True).print("interrupted; the same command goes on from there")


def exit_code() -> int:
    """0, 1 if the request was refused, 75 if it was interrupted."""
    return _exit_code
