"""SPEED: a few completions of every prompt first, the others only where outcomes are mixed (arXiv 2506.09016).

Each prompt gets ``screen`` completions. Those of prompts that were all right or all wrong end there; the prompts with
both outcomes share what is left of the step's budget evenly, up to ``most`` completions each. The completions of the
screening train with the others.

Departures from the release: both rounds belong to one step and one policy, where the release keeps screened prompts in
a buffer for a later step; budget that no prompt may take is not spent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gainrl.allocation.greedy import check_range
from gainrl.types import GroupOutcome, Prospects


class SPEEDAllocation:
    """``screen`` completions each, then up to ``most`` for prompts of mixed outcome.

    Raises ValueError for an empty range, and for a screening of one completion, which can never be mixed.
    """

    def __init__(self, *, screen: int = 4, most: int = 24) -> None:
        if screen < 2:
            raise ValueError(f"allocation.screen={screen}: one completion is never of mixed outcome; type 2 or more")
        check_range(screen, most)
        self.screen, self.most = screen, most

    def plan(self, prospects: Prospects) -> np.ndarray:
        return np.full(len(prospects.rates), min(self.screen, prospects.budget // len(prospects.rates)))

    def more(self, groups: Sequence[GroupOutcome], left: int) -> np.ndarray:
        sizes = np.array([len(group.correct) for group in groups])
        counts = np.zeros(len(groups), np.int64)
        mixed = np.flatnonzero([group.mixed for group in groups])
        if not len(mixed) or sizes.max() > self.screen:
            return counts
        share, over = divmod(left, len(mixed))
        counts[mixed] = share
        counts[mixed[:over]] += 1
        return np.minimum(counts, self.most - sizes)
