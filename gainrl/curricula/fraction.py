"""Plain sampling from a part of the pool: its easiest, hardest or middle prompts by a signal, or random ones.

"Hard Examples Are All You Need" (arXiv 2508.14094) measures pass rates with the base model and trains on the 10% of
prompts that it passes least often; `baseline=hardest_fraction` is that rule. The part is chosen once, by the values
that the signal has at the start, however often the signal is measured later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gainrl.curricula.pickers import kept_order
from gainrl.curricula.pool import PromptPool
from gainrl.curricula.requirements import between, need_angles_for, need_part, need_signal, one_of
from gainrl.curricula.uniform import UniformCurriculum
from gainrl.functional.ranking import KEEP
from gainrl.functional.rounding import ceil_product
from gainrl.types import SignalScores


class FractionCurriculum(UniformCurriculum):
    """Draws as `UniformCurriculum` does, from ``keep_fraction`` of the pool.

    ``keep`` says which part (`functional.ranking.kept_part`). Raises ValueError for values out of range, and at `start`
    if the run has no signal, or the part cannot fill a step.
    """

    def __init__(self, *, keep_fraction: float = 0.1, keep: str = "hardest") -> None:
        between("keep_fraction", keep_fraction, 0, 1, open_low=True)
        one_of("keep", keep, KEEP)
        self.keep_fraction, self.keep = keep_fraction, keep

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        signal = need_signal("fraction", signal, pool, "signal=pass_rate (or signal=angle, signal=length)")
        need_angles_for(self.keep, signal)
        count = ceil_product(self.keep_fraction, pool.size)
        need_part(pool, self.keep_fraction, count)
        self._begin(pool, np.sort(kept_order(signal, count, self.keep, seed)), seed)

    def metrics(self) -> dict[str, float]:
        """``kept``: prompts in the part; ``pass`` and ``share_of_pass`` as `UniformCurriculum` has them."""
        return super().metrics() | {"kept": float(len(self._rows))}

    def state_dict(self) -> dict[str, Any]:
        import torch  # only where a checkpoint is written

        return super().state_dict() | {"rows": torch.from_numpy(self._rows)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rows = state["rows"].numpy()
        super().load_state_dict(state)
