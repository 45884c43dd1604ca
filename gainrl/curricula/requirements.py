"""What curricula demand of their settings and of the run; every refusal says what to type instead."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gainrl.curricula.pool import PromptPool
from gainrl.types import SignalScores


def between(
    name: str, value: float, low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False
) -> float:
    """``value`` if it lies in the interval; raises ValueError naming setting, value and interval otherwise."""
    below = value <= low if open_low else value < low
    above = value >= high if open_high else value > high
    if below or above or math.isnan(value):
        left, right = "(" if open_low else "[", ")" if open_high or math.isinf(high) else "]"
        raise ValueError(f"{name}={value} lies outside {left}{low:g}, {high:g}{right}: give a value inside it")
    return value


def one_of(name: str, value: str, choices: Sequence[str]) -> str:
    """``value`` if it is among ``choices``; raises ValueError listing them otherwise."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is unknown: type one of {', '.join(choices)}")
    return value


def need_signal(curriculum: str, signal: SignalScores | None, pool: PromptPool, suggestion: str) -> SignalScores:
    """The run's signal; raises ValueError if it has none, or one of another length than the pool."""
    if signal is None:
        raise ValueError(f"curriculum={curriculum} orders prompts by a signal and the run has none: add {suggestion}")
    if signal.values.shape != (pool.size,):
        raise ValueError(
            f"signal={signal.name} has {signal.values.shape[0]} values for a pool of {pool.size} prompts: "
            "measure it on the training problems of this run"
        )
    if np.isnan(signal.values).all():
        raise ValueError(f"signal={signal.name} is NaN for every prompt and orders nothing: add {suggestion}")
    return signal


def need_angles_for(keep: str, signal: SignalScores) -> None:
    """Raises ValueError where ``keep`` names an end of the angles and the signal is another."""
    words = {"concentrated": "easiest", "spread": "hardest"}
    if keep in words and not signal.name.startswith("angle"):
        raise ValueError(
            f"curriculum.keep={keep} names an end of the angles and the run's signal is {signal.name}: type "
            f"curriculum.keep={words[keep]}, which is the same end of any signal"
        )


def need_levels(curriculum: str, pool: PromptPool) -> np.ndarray:
    """``[N]`` class of each prompt, numbered from 0 in ascending order of level; raises ValueError if one has none."""
    missing = pool.size if pool.levels is None else int((pool.levels < 0).sum())
    if pool.levels is None or missing:
        raise ValueError(
            f"curriculum={curriculum} draws by level and {missing} of {pool.size} training problems have none: choose "
            "a dataset with levels (dataset=arithmetic) or a curriculum that needs none (curriculum=gain)"
        )
    return np.unique(pool.levels, return_inverse=True)[1]


def need_sources(curriculum: str, sources: np.ndarray | None) -> tuple[list[str], np.ndarray]:
    """Names of the sources and ``[N]`` the number of each prompt's source; raises ValueError for fewer than two.

    ``sources``: ``[N]`` texts; a path in front of a name (``reasoning_gym/gcd``) is no part of it.
    """
    found = np.array([] if sources is None else [str(one).rpartition("/")[2] for one in sources])
    names, numbers = np.unique(found, return_inverse=True)
    if len(names) < 2:
        given = f"only {names[0]!r}" if len(names) else "none"
        raise ValueError(
            f"curriculum={curriculum} chooses between the sources of the data, and this data set has {given}: type "
            "dataset=mixture with several data sets, or dataset=short_tasks"
        )
    return names.tolist(), numbers


def need_prompts(pool: PromptPool, available: int, n: int, excluded: int = 0) -> None:
    """Raises ValueError unless ``n`` distinct prompts can be had."""
    if n > available:
        raise ValueError(
            f"{n} distinct prompts were asked for, but only {available} of the pool's {pool.size} can be drawn"
            + (f" besides the {excluded} already in this step" if excluded else "")
            + ": lower prompts_per_step or use more problems"
        )


def need_part(pool: PromptPool, keep_fraction: float, count: int) -> None:
    """Raises ValueError unless the ``count`` prompts that ``keep_fraction`` keeps can fill a step."""
    need_prompts(pool, pool.size, pool.prompts_per_step)
    if count < pool.prompts_per_step:
        least = math.ceil(1000 * pool.prompts_per_step / pool.size) / 1000
        raise ValueError(
            f"curriculum.keep_fraction={keep_fraction} keeps {count} of {pool.size} prompts, and a step has "
            f"{pool.prompts_per_step}: type curriculum.keep_fraction={least:g} or more, or lower "
            "schedule.prompts_per_step"
        )
