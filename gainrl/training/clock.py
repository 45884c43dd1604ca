"""Seconds and tokens of each phase of a run: rollout, reward, logprobs, update, refresh, evaluation, and so on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class PhaseClock:
    """Adds up wall seconds by phase. A phase entered inside another is taken out of the outer one.

    From the first phase on every second belongs somewhere: what passes between two phases is that of ``other``.
    ``tokens``: what went through a phase, as its code counts it (`count`): completion tokens generated, judged, scored
    or learned from, and prompt tokens read for a signal. ``listener`` is told the name of each phase that begins, and
    how far it is where the phase says so (`tell`).
    """

    def __init__(self) -> None:
        self.listener: Callable[[str], None] | None = None
        self.seconds: dict[str, float] = {}
        self.tokens: dict[str, int] = {}
        self._open: list[str] = []
        self._since: float | None = None

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        self._charge()
        self._open.append(phase)
        if self.listener is not None:
            self.listener(phase)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def count(self, tokens: int, phase: str | None = None) -> None:
        """Adds tokens of all ranks to ``phase``, or to the one that is open; outside of all, nothing is counted."""
        phase = phase or self.current
        if phase is not None:
            self.tokens[phase] = self.tokens.get(phase, 0) + int(tokens)

    def tell(self, how_far: str) -> None:
        """Tells the listener how far the open phase is, such as ``32/240 problems``."""
        if self.listener is not None and self.current is not None:
            self.listener(f"{self.current} {how_far}")

    @property
    def current(self) -> str | None:
        return self._open[-1] if self._open else None

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._since is not None:
            phase = self._open[-1] if self._open else "other"
            self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now
