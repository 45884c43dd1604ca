"""GAIN-RL: a Gaussian window that slides over the prompts in the order of a signal (arXiv 2506.02281).

Rank 0 is the prompt to learn first, with the angle signal the most concentrated one. An epoch draws its prompts without
replacement with weight ``exp(-(rank - center)^2 / (2 width^2))`` and serves them by rank; its accuracy and
concentration then move the centre (`functional.centers`).

Departures from the paper and its code:

1. Width, step and initial centre are fractions of the pool, so that a pool of another size sees the same schedule.
   ``absolute`` reads them as ranks, as released. The paper's step is half the prompts of an epoch (known at second
   hand; the released code has 500 for every size): ``step_scale=None``.
2. The centre stays inside the pool (``bounded``); as released it runs past the end and never returns.
3. Accuracy counts raw 0/1 verdicts. ``released_verl`` halves it as the released code does, and ``released_trl``
   acts one epoch late, as released.
4. An epoch that needs more prompts than the pool keeps is served by several draws, each without replacement.
5. The concentration is read off the update's own forward, where prompts whose completions were all right or all wrong
   do not appear unless a KL or an entropy bonus gives them a gradient; the accuracy counts all prompts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gainrl.curricula.pickers import kept_order
from gainrl.curricula.pool import CurriculumDefaults, PromptPool
from gainrl.curricula.requirements import between, need_angles_for, need_part, need_prompts, need_signal, one_of
from gainrl.functional.centers import (
    CENTER_UPDATES,
    USES_ACCURACY,
    USES_CONCENTRATION,
    CenterMove,
    CenterUpdate,
    center_move,
)
from gainrl.functional.ranking import KEEP, gaussian_draw, reversed_order
from gainrl.functional.rounding import ceil_product
from gainrl.functional.streams import generator
from gainrl.types import EpochFeedback, SignalScores


class GainCurriculum(CurriculumDefaults):
    """Draws prompts from a Gaussian window over the ranks of a signal and moves the window by what an epoch taught.

    ``width``, ``step_scale`` and ``initial_center`` are fractions of the kept prompts, or ranks if ``absolute``;
    ``step_scale=None`` is half as many ranks as an epoch has prompts.
    ``keep_fraction`` keeps that share of the pool, and ``keep`` says which part (`functional.ranking.kept_part`).
    ``reversed`` serves the kept prompts from their other end. ``alpha``, ``beta``, ``gamma``, ``update``: see
    `functional.centers`.

    Raises ValueError for values out of range, and at `start` if the run has no signal or too few prompts.
    """

    def __init__(
        self,
        *,
        width: float,
        step_scale: float | None,
        alpha: float,
        beta: float,
        gamma: float,
        update: CenterUpdate = "paper",
        initial_center: float = 0.0,
        bounded: bool = True,
        reversed: bool = False,
        keep_fraction: float = 1.0,
        keep: str = "easiest",
        absolute: bool = False,
    ) -> None:
        one_of("update", update, CENTER_UPDATES)
        between("width", width, 0, open_low=True)
        if step_scale is not None:
            between("step_scale", step_scale, 0)
        between("alpha", alpha, 0)
        between("beta", beta, 0, 1)
        between("gamma", gamma, 0)
        between("keep_fraction", keep_fraction, 0, 1, open_low=True)
        one_of("keep", keep, KEEP)
        if absolute and width < 1:
            raise ValueError(
                f"absolute=true reads width in ranks and {width} is less than one: type width=1000 step_scale=500 (the "
                "released code's), or absolute=false to give fractions of the pool"
            )
        if not absolute and max(width, step_scale or 0, abs(initial_center)) > 10:
            raise ValueError(
                f"width={width}, step_scale={step_scale}, initial_center={initial_center} are fractions of the pool, "
                "and one is above 10: type width=0.133 step_scale=0.067, or absolute=true to give ranks"
            )
        self.width, self.step_scale, self.initial_center = width, step_scale, initial_center
        self.alpha, self.beta, self.gamma, self.update = alpha, beta, gamma, update
        self.bounded, self.reversed, self.absolute = bounded, reversed, absolute
        self.keep_fraction, self.keep = keep_fraction, keep

    def start(self, pool: PromptPool, signal: SignalScores | None, seed: int) -> None:
        self._pool, self._seed = pool, seed
        self._kept = ceil_product(self.keep_fraction, pool.size)
        need_part(pool, self.keep_fraction, self._kept)
        self._unit = 1 if self.absolute else self._kept
        self._step = pool.prompts_per_epoch / 2 if self.step_scale is None else self.step_scale * self._unit
        self._epoch = self._position = self._refills = 0
        self._center = self._window_center = self._limit(self.initial_center * self._unit)
        self._move = CenterMove(0.0, 0.0, 0.0)
        self._concentrations: list[float] = []  # of the prompts that this epoch's updates ran
        self.refresh(need_signal("gain", signal, pool, "signal=angle (or a control: signal=length, signal=random)"))

    def refresh(self, signal: SignalScores) -> None:
        signal = need_signal("gain", signal, self._pool, "signal=angle")
        need_angles_for(self.keep, signal)
        order = kept_order(signal, self._kept, self.keep, self._seed)
        self._order = reversed_order(order, signal.values) if self.reversed else order
        self._values = signal.values
        self._identity = hashlib.blake2b(self._order.astype("<i8").tobytes(), digest_size=8).hexdigest()
        self._expected = self._identity
        self._drawn: tuple[int, np.ndarray] | None = None
        self._ranks: np.ndarray | None = None  # of each row, -1 where not kept; needed by refills only

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        rows = np.empty(0, np.int64)
        if not len(exclude):
            draw, offset = divmod(self._position, self._draw_size)
            rows = self._order[self._draw(draw)[offset : offset + n]]
            self._position += len(rows)
        if len(rows) < n:
            rows = np.concatenate([rows, self._refill(n - len(rows), np.concatenate([rows, [*exclude]]))])
        return rows

    @property
    def needs_concentration(self) -> bool:
        """Whether the centre moves by the concentration, so that a run must measure it."""
        return self.update in USES_CONCENTRATION

    def after_update(self, concentrations: Mapping[int, float]) -> None:
        self._concentrations.extend(concentrations.values())

    def end_epoch(self, feedback: EpochFeedback) -> None:
        accuracy = feedback.accuracy
        concentration = float(np.mean(self._concentrations)) if self._concentrations else math.nan
        self._concentrations = []
        if self.needs_concentration and math.isnan(concentration):
            raise ValueError(
                f"curriculum.update={self.update} moves the centre by the angle concentration of an epoch's prompts, "
                "and this epoch's prompts have none: choose a template with a question and a prefix, or type "
                "curriculum.update=accuracy_only"
            )
        if self.update in USES_ACCURACY and math.isnan(accuracy):
            accuracy = self.beta  # every judge of the epoch failed: nothing is known, so the accuracy term is 0
        previous = self._center
        self._move = center_move(
            self.update,
            accuracy,
            concentration,
            step=self._step,
            alpha=self.alpha,
            beta=self.beta,
            gamma=self.gamma,
        )
        self._center = self._limit(previous + self._move.total)
        self._window_center = previous if self.update == "released_trl" else self._center
        self._epoch, self._position, self._refills, self._drawn = self._epoch + 1, 0, 0, None

    def metrics(self) -> dict[str, float]:
        """Centre and width in ranks, the ranks of the current draw, its mean signal, and how much of the pool was seen.

        ``ranks/tenth_0 .. 9``: share of the draw from each tenth of the kept ranks. ``move/*``: terms of the last move.
        """
        ranks = self._draw(max(self._position - 1, 0) // self._draw_size)
        low, middle, high = np.quantile(ranks, [0.1, 0.5, 0.9])
        tenths = np.bincount(ranks * 10 // self._kept, minlength=10) / len(ranks)
        seen = float(np.count_nonzero(self._pool.history.visits))
        return {
            "center": self._window_center,
            "center_fraction": self._window_center / self._kept,
            "width": self.width * self._unit,
            "move/accuracy": self._move.accuracy,
            "move/angle": self._move.angle,
            "move/total": self._move.total,
            "ranks/q10": float(low),
            "ranks/q50": float(middle),
            "ranks/q90": float(high),
            **{f"ranks/tenth_{i}": float(share) for i, share in enumerate(tenths)},
            "mean_signal": _mean_of_known(self._values[self._order[ranks]]),
            "distinct_prompts": seen,
            "share_seen": seen / self._pool.size,
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "center": self._center,
            "window_center": self._window_center,
            "move": list(self._move),
            "concentrations": list(self._concentrations),
            "epoch": self._epoch,
            "position": self._position,
            "refills": self._refills,
            "order": self._identity,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError, at the next draw, unless the signal orders the pool as it did when the state was taken."""
        self._center, self._window_center = float(state["center"]), float(state["window_center"])
        self._move = CenterMove(*map(float, state["move"]))
        self._concentrations = [float(value) for value in state["concentrations"]]
        self._epoch, self._position = int(state["epoch"]), int(state["position"])
        self._refills, self._expected = int(state["refills"]), str(state["order"])
        self._drawn = None

    @property
    def _draw_size(self) -> int:
        step = self._pool.prompts_per_step
        return min(self._pool.prompts_per_epoch, self._kept // step * step)

    def _limit(self, center: float) -> float:
        return min(max(center, 0.0), self._kept - 1.0) if self.bounded else center

    def _draw(self, number: int) -> np.ndarray:
        """Ranks of draw ``number`` of this epoch, derived from counters alone."""
        if self._drawn is None or self._drawn[0] != number:
            if self._expected != self._identity:
                raise ValueError(
                    "the signal orders the pool differently from the run that is resumed: restore the signal values "
                    "of that run, or start a new one"
                )
            stream = generator(self._seed, "selection", "gain", self._epoch, number)
            width = self.width * self._unit
            ranks = gaussian_draw(self._kept, self._draw_size, self._window_center, width, stream)
            self._drawn = (number, ranks)
        return self._drawn[1]

    def _refill(self, n: int, exclude: np.ndarray) -> np.ndarray:
        """``n`` more rows from the same window: none of ``exclude``, and none of the epoch's draw while others last."""
        stream = generator(self._seed, "selection", "gain", self._epoch, "refill", self._refills)
        self._refills += 1
        if self._ranks is None:
            self._ranks = np.full(self._pool.size, -1)
            self._ranks[self._order] = np.arange(self._kept)
        blocked = np.unique(self._ranks[exclude.astype(np.int64)])
        blocked = blocked[blocked >= 0]
        need_prompts(self._pool, self._kept - len(blocked), n, len(exclude))
        drawn = self._draw(max(self._position - 1, 0) // self._draw_size)
        wider = np.union1d(blocked, drawn)
        if self._kept - len(wider) >= n:
            blocked = wider
        width = self.width * self._unit
        return self._order[gaussian_draw(self._kept, n, self._window_center, width, stream, blocked)]


def _mean_of_known(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
