"""What the parts of a run share: its seed, clock, counters, and the processes that train together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gainrl.training.distributed.ranks import Ranks
from gainrl.types import Counters


class PhaseClock:
    """Adds up wall seconds by phase. A phase entered inside another is taken out of the outer one.

    From the first phase on every second belongs somewhere: time between two phases counts as ``other``. ``tokens``:
    what went through a phase, as its code counts it (`count`): completion tokens generated, judged, scored or learned
    from, and prompt tokens read for a signal. `doing` may be read from any thread.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.tokens: dict[str, int] = {}
        self._open: list[str] = []
        self._since: float | None = None
        self._how_far = ""

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        self._charge()
        self._open.append(phase)
        self._how_far = ""
        try:
            yield
        finally:
            self._charge()
            self._open.pop()
            self._how_far = ""

    def count(self, tokens: int, phase: str | None = None) -> None:
        """Adds tokens of all ranks to ``phase``, or to the one that is open; outside of all, nothing is counted."""
        phase = phase or self.current
        if phase is not None:
            self.tokens[phase] = self.tokens.get(phase, 0) + int(tokens)

    def tell(self, how_far: str) -> None:
        """How far the open phase is, such as ``32/240 problems``."""
        self._how_far = how_far

    @property
    def doing(self) -> str:
        """The open phase and how far it is, such as ``evaluation 32/240 problems``; ``other`` between phases."""
        phase = self._open[-1:] or ["other"]
        return f"{phase[0]} {self._how_far}".rstrip()

    @property
    def current(self) -> str | None:
        return self._open[-1] if self._open else None

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._since is not None:
            phase = self._open[-1] if self._open else "other"
            self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """One per run, handed to the data module and the GRPO module alike."""

    seed: int = 0
    clock: PhaseClock = field(default_factory=PhaseClock)
    counters: Counters = field(default_factory=Counters)
    ranks: Ranks = field(default_factory=Ranks)
