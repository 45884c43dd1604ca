"""What a data set gives a run: the training pool and the problems held out from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gainrl.types import ProblemSet


@dataclass(frozen=True, slots=True)
class DataSplits:
    """``train`` is the pool that curricula draw from, None for a set that only evaluates; ``held_out`` never trains.

    ``lessons``: what a warm start learns from where that is not ``train``, so that pools of different make-up share
    one warm-started model. ``compare_by``: what accuracies are given by and averaged over; ``source``
    where a level means another difficulty in every source.
    """

    train: ProblemSet | None
    held_out: ProblemSet | None
    lessons: ProblemSet | None = None
    compare_by: Literal["level", "source"] = "level"

    @property
    def warm_start(self) -> ProblemSet | None:
        """The problems whose worked solutions a warm start learns."""
        return self.train if self.lessons is None else self.lessons


def training_problems(splits: DataSplits, *, prompts_per_step: int = 1) -> ProblemSet:
    """``splits.train``; raises ValueError if it is missing or cannot fill a step."""
    train = splits.train
    if train is None:
        raise ValueError("this data set has no training problems; choose another with dataset=")
    if prompts_per_step > len(train):
        raise ValueError(
            f"schedule.prompts_per_step={prompts_per_step} is more than the {len(train)} training problems of "
            f"{train.name}; type schedule.prompts_per_step={len(train)} or less"
        )
    return train
