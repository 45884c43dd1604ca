"""PREPO's choice of prompts: a window of perplexity that slides from low to high with the run (arXiv 2511.00794).

Each step measures a random candidate batch of ``n / keep`` prompts under the current policy, sorts it, and takes ``n``
consecutive ones from rank ``floor(rho (candidates - n))`` on. The paper's weights per completion are not part of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.curricula.pickers import candidates
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_prompts, need_signal
from gainrl.functional.rounding import ceil_quotient, floor_product
from gainrl.functional.streams import generator
from gainrl.types import SignalScores


class PrepoCurriculum(CurriculumDefaults):
    """Takes a window of the run's signal, from the end that is learnt first to the other.

    ``keep``: share of the candidate batch that trains. ``live`` measures candidates under the current policy at every
    step; otherwise the values measured last are used. Raises ValueError at `start` if there is nothing to measure.
    """

    def __init__(self, *, keep: float = 0.2, live: bool = True) -> None:
        between("keep", keep, 0, 1, open_low=True)
        self.keep, self.live = keep, live

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        self._signal = need_signal("prepo", signal, pool, "signal=perplexity")
        if self.live and pool.measure is None:
            raise ValueError(
                f"curriculum.live=true measures prompts at every step, which signal={self._signal.name} cannot: type "
                "signal=perplexity, or curriculum.live=false to use the values measured last"
            )
        self._pool, self._seed, self._draws, self._measured = pool, seed, 0, 0

    def refresh(self, signal: SignalScores) -> None:
        self._signal = signal

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        stream = generator(self._seed, "selection", "prepo", self._draws)
        self._draws += 1
        rows = candidates(self._pool.size, ceil_quotient(n, self.keep), exclude, stream)
        if self.live and self._pool.measure is not None:
            values = np.asarray(self._pool.measure(rows))
            self._measured += len(rows)
        else:
            values = self._signal.values[rows]
        ranked = rows[np.argsort(-values if self._signal.learn_first == "high" else values, kind="stable")]
        first = floor_product(self._pool.progress, len(rows) - n)
        return ranked[first : first + n]

    def metrics(self) -> dict[str, float]:
        return {"progress": self._pool.progress, "prompts_measured": float(self._measured)}

    def state_dict(self) -> dict[str, Any]:
        return {"draws": self._draws, "measured": self._measured}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws, self._measured = int(state["draws"]), int(state["measured"])
