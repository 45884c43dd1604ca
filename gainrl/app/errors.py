"""Messages for people: what was given, why it cannot be, what to type instead."""

from __future__ import annotations

import errno

EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: try again later


class ConfigError(ValueError):
    """A setting that cannot work; its text is all that a user needs to see."""


class RunRefused(ConfigError):
    """The run directory holds something that must not be overwritten."""


class RunFailedBefore(ConfigError):
    """A job of a repeated sweep that failed the last time, left as it is."""


class RunInterrupted(BaseException):
    """A run that stopped because it was asked to; no Exception, so that a sweep stops with it."""


class JobFailed(RuntimeError):
    """A job of a sweep that failed in its own process; ``told`` says whether that process has reported it."""

    def __init__(self, reason: str, *, told: bool) -> None:
        super().__init__(reason)
        self.told = told


def full_disk(fault: BaseException) -> str | None:
    """What to say of an error that comes from a disk without room; None for any other."""
    if not isinstance(fault, OSError) or fault.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return f"{fault}; make room on the disk and repeat the command: the run goes on from its last checkpoint"


def first_cause(fault: BaseException) -> str:
    """The first cause of a failed construction, without the chain that leads to it."""
    cause = fault
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return str(cause)
