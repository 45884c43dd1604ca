"""Messages for people: what was given, why it cannot be, what to type instead."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from pathlib import Path

EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: try again later


class ConfigError(ValueError):
    """A setting that cannot work; its text is all that a user needs to see."""


class RunRefused(ConfigError):
    """The run directory holds something that the run must not overwrite."""


class RunFailedBefore(ConfigError):
    """A job of a repeated sweep that failed the last time, left as it is."""


class RunInterrupted(BaseException):
    """A run that stopped because it was asked to; no Exception, so that a sweep stops with it."""


class JobFailed(RuntimeError):
    """A job of a sweep that failed in its own process; ``reported``: whether that process has printed the reason."""

    def __init__(self, reason: str, *, reported: bool) -> None:
        super().__init__(reason)
        self.reported = reported


def full_disk(fault: BaseException) -> str | None:
    """The message for an error that comes from a full disk; None for any other error."""
    if not isinstance(fault, OSError) or fault.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return f"{fault}; make room on the disk and repeat the command: the run goes on from its last checkpoint"


def forbidden(fault: BaseException) -> str | None:
    """The message for a file or folder that cannot be written; None for any other error."""
    if not isinstance(fault, OSError):
        return None
    homeless = fault.errno in (errno.ENOENT, errno.ENOTDIR) and str(fault.filename).startswith(
        str(Path("~").expanduser())
    )
    if not homeless and fault.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
        return None
    return (
        f"{fault.filename or 'a folder'} cannot be written ({fault.strerror}). Runs go below the folder where the "
        "command runs (hydra.run.dir=... for another), gainrl keeps its cache in GAINRL_CACHE, the hub and the "
        "datasets library keep theirs in HF_HOME: set that variable to a folder that you can write to"
    )


def first_cause(fault: BaseException) -> str:
    """Every message of a failed construction: first the one written for people, then what it came from, line by line.

    Wrappers of Hydra, which only name the class that could not be built, are left out. A folder that cannot be written
    has a message of its own.
    """
    lines: list[str] = []
    for cause in _chain(fault):
        known = full_disk(cause) or forbidden(cause)
        if known is not None:
            return known
        text = str(cause).strip()
        wraps = type(cause).__module__.startswith(("hydra.", "omegaconf.")) and cause.__cause__ is not None
        if not wraps and not any(text in line or _last(text) in line for line in lines):
            lines.append(text or type(cause).__name__)
    first, *rest = lines or [str(fault)]
    return "\n".join([first, *(f"  from: {_last(text)}" for text in rest)])


def _chain(fault: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = fault
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _last(text: str) -> str:
    return text.splitlines()[-1] if text else ""


def is_for_people(fault: BaseException) -> bool:
    """Whether the text of a fault is all that a user needs to see."""
    return isinstance(fault, ValueError) or type(fault).__module__.startswith("gainrl.")


def explain(fault: BaseException, cannot: str, *, traceback: bool = False) -> None:
    """Prints a fault on stderr: a sentence if it was written for people, else with Python's traceback."""
    from rich.console import Console
    from rich.traceback import Traceback

    known = full_disk(fault) or forbidden(fault)
    readable = is_for_people(fault) or known is not None
    heading = cannot if isinstance(fault, ValueError) else "Failed" if readable else type(fault).__name__
    errors = Console(stderr=True, soft_wrap=not sys.stderr.isatty())
    errors.print(f"[bold red]{heading}:[/bold red] ", end="")
    errors.print(known or str(fault), markup=False, highlight=False)
    if traceback or not readable:
        errors.print(Traceback.from_exception(type(fault), fault, fault.__traceback__, show_locals=False))
