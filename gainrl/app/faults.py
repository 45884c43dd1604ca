"""Messages for people: what was given, why it cannot be, what to type instead."""

from __future__ import annotations


class ConfigError(ValueError):
    """A setting that cannot work; its text is all that a user needs to see."""


class RunRefused(ConfigError):
    """The run directory holds something that must not be overwritten."""


class RunFailedBefore(ConfigError):
    """A job of a repeated sweep that failed the last time, left as it is."""


class RunInterrupted(BaseException):
    """A run that stopped because it was asked to; no Exception, so that a sweep stops with it."""


def first_cause(fault: BaseException) -> str:
    """The first cause of a failed construction, without the chain that leads to it."""
    cause = fault
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return str(cause)
