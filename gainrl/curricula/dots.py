"""DOTS: difficulty predicted by attention over reference prompts that were just rolled out (arXiv 2506.05316).

Every ``every`` steps the pass rates of random reference prompts, ``references`` for each prompt of a step, are measured
under the current policy. The pass rate of any other prompt is then the mean of theirs, weighed by how alike the hidden
states are (`functional.attention_prediction`), and a step draws prompts without replacement in proportion to
``exp(-|predicted - target| / temperature)``. `baseline=dots` adds the replay of rollouts (``algorithm.replay``).

Departures: the paper projects frozen embeddings by layers that were trained on other models' rollouts, and calibrates
the prediction by a small net; here the policy's own states before training are compared as they are, and the sharpness
of the attention is the one that predicts the references best from each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.curricula.head import need_states
from gainrl.curricula.pickers import candidates, proportional
from gainrl.curricula.pool import CurriculumDefaults, PromptPool, StatesWanted
from gainrl.curricula.requirements import between, need_prompts
from gainrl.functional.attention_prediction import attention_predictions
from gainrl.functional.rounding import ceil_product
from gainrl.functional.streams import generator
from gainrl.types import SignalScores


class DOTSCurriculum(CurriculumDefaults):
    """Draws prompts whose predicted pass rate is nearest to ``target``; ``temperature`` near 0 takes the nearest.

    ``layer`` and ``activation`` say which hidden states are compared, as of ``signal=angle``; they are measured once,
    before training, unless ``live``. Raises ValueError for values out of range, and at `start` unless the run's signal
    is the pass rate of the current policy.
    """

    def __init__(
        self,
        *,
        target: float = 0.5,
        temperature: float = 1e-3,
        references: float = 1.0,
        every: int = 2,
        live: bool = False,
        layer: int | float = -1,
        activation: str = "mlp_input",
    ) -> None:
        between("target", target, 0, 1)
        between("temperature", temperature, 0, open_low=True)
        between("references", references, 0, open_low=True)
        between("every", every, 1)
        self.target, self.temperature, self.references, self.every = target, temperature, references, every
        self.wanted_states = StatesWanted(layer, activation, live)

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        need_prompts(pool, pool.size, pool.prompts_per_step)
        need_states("dots", pool)
        if signal is None or signal.name != "pass_rate" or pool.measure is None:
            given = "none" if signal is None else signal.name
            raise ValueError(
                f"curriculum=dots measures pass rates of reference prompts and the run's signal is {given}: add "
                "signal=pass_rate"
            )
        self._pool, self._seed = pool, seed
        self._draws = self._measured = 0
        self._predicted = np.full(pool.size, np.nan)
        self._mean_rate = 0.0

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        need_prompts(self._pool, self._pool.size - len(exclude), n, len(exclude))
        if not len(exclude) and (self._pool.step % self.every == 0 or np.isnan(self._predicted).all()):
            self._predict()
        stream = generator(self._seed, "selection", "dots", self._draws)
        self._draws += 1
        distance = np.abs(self._predicted - self.target)
        free = np.ones(self._pool.size, bool)
        free[np.asarray(exclude, np.int64)] = False
        nearest = distance - distance[free].min()  # so that the largest weight is 1, however low the temperature
        return proportional(np.exp(-np.maximum(nearest, 0) / self.temperature), n, exclude, stream)

    def metrics(self) -> dict[str, float]:
        """``prompts_measured``: reference prompts rolled out so far; ``mean_pass_rate``: of the last of them."""
        known = self._predicted[~np.isnan(self._predicted)]
        return {
            "prompts_measured": float(self._measured),
            "mean_pass_rate": self._mean_rate,
            "predicted_pass_rate": float(known.mean()) if len(known) else 0.5,
        }

    def state_dict(self) -> dict[str, Any]:
        import torch  # only where a checkpoint is written

        return {
            "draws": self._draws,
            "measured": self._measured,
            "mean_rate": self._mean_rate,
            "predicted": torch.from_numpy(self._predicted.copy()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws, self._measured = int(state["draws"]), int(state["measured"])
        self._mean_rate, self._predicted = float(state["mean_rate"]), state["predicted"].numpy().copy()

    def _predict(self) -> None:
        pool = self._pool
        assert pool.measure is not None
        assert pool.states is not None
        stream = generator(self._seed, "selection", "dots references", self._draws)
        rows = candidates(pool.size, ceil_product(self.references, pool.prompts_per_step), (), stream)
        rates = np.nan_to_num(np.asarray(pool.measure(rows), float))
        states = np.asarray(pool.states(np.arange(pool.size)))
        self._predicted = attention_predictions(states[rows], rates, states)
        self._predicted[rows] = rates  # which are known
        self._measured += len(rows)
        self._mean_rate = float(rates.mean())
