"""Stopping at a border between steps when the system, a person or a part of the run asks for it."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
SAME_REQUEST_SECONDS = 1.0


class Interrupted(BaseException):
    """The run stops as it was asked to. No Exception, so that nothing on the way takes it for a fault."""


class Stopped(RuntimeError):
    """A part of the run found that it should not go on, and it ended at the next border between steps."""


class StopRequest:
    """Turns the first SIGTERM, SIGINT or SIGUSR2 into a request; a second one ends the process at once (128 + signal).

    SIGUSR2, which batch systems send ahead of their limit, is never more than a request. While ``between_steps`` is
    False, before the first step, there is nothing to finish and the first signal raises Interrupted where it arrives.

    ``repeats``: whether one request may arrive twice, because a terminal or a batch system sends it to a process and
    to the one that passes it on; the same signal within a second is then the same request. ``max_hours``: time that
    the process has, counted from here, or None; see `runs_out`. Raises ValueError unless it is positive.
    """

    def __init__(self, *, repeats: bool = False, max_hours: float | None = None) -> None:
        if max_hours is not None and not max_hours > 0:
            raise ValueError(f"trainer.max_hours={max_hours} leaves no time; type a number > 0, or null for no limit")
        self.max_hours = max_hours
        self._begun = time.monotonic()
        self.signal: str | None = None
        self.reason: str | None = None
        self.between_steps = False
        self._repeats = repeats
        self._asked = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def give_up(self, reason: str) -> None:
        """A part of the run asks for its end at the next border, where Stopped is raised; the first reason counts."""
        self.reason = self.reason or reason

    def runs_out(self, seconds: float) -> bool:
        """Whether no more than ``seconds`` are left of ``max_hours``."""
        if self.max_hours is None:
            return False
        return time.monotonic() - self._begun + seconds >= 3600 * self.max_hours

    def install(self) -> None:
        """May be called again: Lightning puts its own handler of SIGTERM over this one when a fit begins."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python delivers signals to the main thread, and only there can they be redirected
        for number in SIGNALS:
            current = signal.getsignal(number)
            self._before.setdefault(number, current)
            signal.signal(number, self._handle)

    @property
    def installed(self) -> bool:
        return bool(self._before)

    def remove(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name, now = signal.Signals(number).name, time.monotonic()
        if self.signal is not None:
            same = self._repeats and name == self.signal and now - self._asked < SAME_REQUEST_SECONDS
            if number != signal.SIGUSR2 and not same:
                os._exit(128 + number)
            return
        self.signal, self._asked = name, now
        if not self.between_steps:
            raise Interrupted(f"{self.signal} before the first step")
