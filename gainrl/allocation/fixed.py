"""The same number of completions for every prompt: the groups of plain GRPO (arXiv 2402.03300)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gainrl.types import GroupOutcome, Prospects


class OneRound:
    """An allocation that plans all completions of a step at once, and asks for no further round.

    ``needs_visits``: whether it plans by what earlier visits of a prompt showed, so that without any it shares equally.
    """

    needs_visits = False

    def more(self, groups: Sequence[GroupOutcome], left: int) -> np.ndarray:
        return np.zeros(len(groups), np.int64)


class FixedAllocation(OneRound):
    """``group_size`` completions for each prompt, in one round."""

    def plan(self, prospects: Prospects) -> np.ndarray:
        return np.full(len(prospects.rates), prospects.group_size)
