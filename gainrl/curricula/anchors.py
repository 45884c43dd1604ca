"""Pass rates of two other models on the pool, and where between them the policy stands (BOTS, arXiv 2510.26374)."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

_MADE = "gainrl-rank signal=pass_rate table=csv model=... writes one"
_SAME = 1e-6  # anchors whose means are nearer than this say nothing of the policy


def read_pass_rates(setting: str, file: str, ids: np.ndarray) -> np.ndarray:
    """``[N]`` pass rates of the problems ``ids`` in a ``signals.csv`` of gainrl-rank; NaN for those that it lacks.

    Raises ValueError, naming ``setting``, for a missing file, one without the columns, or one with other problems.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"{setting}={file} is no file: give a signals.csv; {_MADE}")
    known: dict[str, float] = {}
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            table = csv.DictReader(lines)
            missing = {"id", "pass_rate"} - set(table.fieldnames or ())
            if missing:
                raise ValueError(f"it has no column {min(missing)!r}")
            for line in table:
                known[line["id"]] = float(line["pass_rate"] or "nan")
    except (ValueError, TypeError, csv.Error) as fault:
        raise ValueError(f"{setting}={file} is no table of pass rates ({fault}): {_MADE}") from None
    rates = np.array([known.get(str(one), math.nan) for one in ids])
    if np.isnan(rates).all():
        raise ValueError(
            f"{setting}={file} has a pass rate for none of the {len(ids)} training problems, whose ids are like "
            f"{str(ids[0])!r}: measure the data set that this run trains on; {_MADE}"
        )
    return rates


class Capability:
    """The policy's place between a weak and a strong model: 0 is the weak one's, 1 the strong one's.

    ``weak_N``, ``strong_N``: pass rates on the pool, NaN where unknown. Each step estimates the place from the means
    over its prompts, and ``value`` is a moving average of the estimates that keeps ``memory`` of the past; NaN before
    the first.
    """

    def __init__(self, weak_N: np.ndarray, strong_N: np.ndarray, memory: float) -> None:
        self.weak_N, self.strong_N, self.memory = weak_N, strong_N, memory
        self.value = math.nan

    def learn(self, rows: np.ndarray, rates: np.ndarray) -> None:
        """``rates``: what the policy passed of the prompts ``rows``; those that an anchor lacks are left out."""
        known = ~np.isnan(self.weak_N[rows] + self.strong_N[rows])
        if not known.any():
            return
        weak, strong = self.weak_N[rows][known].mean(), self.strong_N[rows][known].mean()
        if abs(strong - weak) < _SAME:
            return
        estimate = float((rates[known].mean() - weak) / (strong - weak))
        self.value = estimate if math.isnan(self.value) else self.memory * self.value + (1 - self.memory) * estimate

    def predictions(self) -> np.ndarray:
        """``[N]`` pass rates that lie between the anchors' as the policy does; NaN where unknown."""
        return np.clip(self.weak_N + self.value * (self.strong_N - self.weak_N), 0, 1)
