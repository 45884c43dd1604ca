"""What the parts of a run share: its seed, clock, counters, and the processes that train together."""

from __future__ import annotations

from dataclasses import dataclass, field

from gainrl.training.clock import PhaseClock
from gainrl.training.distributed.ranks import Ranks
from gainrl.types import Counters


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """One per run, handed to the data module and the GRPO module alike."""

    seed: int = 0
    clock: PhaseClock = field(default_factory=PhaseClock)
    counters: Counters = field(default_factory=Counters)
    ranks: Ranks = field(default_factory=Ranks)
