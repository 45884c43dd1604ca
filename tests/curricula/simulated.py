"""A learner without a model: latent skill per level, exact pass rates, and the driver that curricula run under.

A prompt of level ``l`` and demand ``b`` is passed with probability ``1 / (1 + exp(-slope (skill[l] - b)))``. Training
on it adds ``rate p (1 - p)`` to the skill of its level, and ``transfer`` of that to the levels next to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gainrl.curricula.pool import PromptPool
from gainrl.datasets.splits import DataSplits
from gainrl.functional.streams import generator
from gainrl.types import Curriculum, EpochFeedback, GroupOutcome, SignalScores


@dataclass
class SimulatedLearner:
    """``levels``: ``[N]`` from 0; ``demands``: ``[N]``; skills start at 0."""

    levels: np.ndarray
    demands: np.ndarray
    seed: int
    group_size: int = 8
    slope: float = 2.0
    rate: float = 0.05
    transfer: float = 0.5
    skill: np.ndarray = field(init=False)
    draws: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.skill = np.zeros(int(self.levels.max()) + 1)

    def pass_rates(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        return 1 / (1 + np.exp(-self.slope * (self.skill[self.levels[rows]] - self.demands[rows])))

    def states(self, rows: np.ndarray) -> np.ndarray:
        """Hidden states that show the level and the demand of a prompt."""
        levels = np.eye(len(self.skill))[self.levels[rows]]
        return np.concatenate([levels, self.demands[rows][:, None]], 1).astype(np.float32)

    def roll_out(self, rows: np.ndarray, step: int) -> list[GroupOutcome]:
        rng = generator(self.seed, "generation", step, self.draws)
        self.draws += 1
        correct = rng.random((len(rows), self.group_size)) < self.pass_rates(rows)[:, None]
        return [outcome(int(row), step, verdicts) for row, verdicts in zip(rows, correct, strict=True)]

    def train(self, rows: np.ndarray) -> None:
        rates = self.pass_rates(rows)
        gain = np.bincount(self.levels[rows], self.rate * rates * (1 - rates), minlength=len(self.skill))
        spread = gain.copy()
        spread[1:] += self.transfer * gain[:-1]
        spread[:-1] += self.transfer * gain[1:]
        self.skill += spread


def outcome(
    row: int, step: int, correct: Sequence[bool] | np.ndarray, rewards: np.ndarray | None = None
) -> GroupOutcome:
    """A group with these verdicts; every completion is 10 tokens long."""
    verdicts = np.asarray(correct, bool)
    return GroupOutcome(
        row=row,
        step=step,
        rewards=verdicts.astype(float) if rewards is None else rewards,
        correct=verdicts,
        lengths=np.full(len(verdicts), 10),
        truncated=np.zeros(len(verdicts), bool),
        valid=np.ones(len(verdicts), bool),
    )


def staircase(size: int, levels: int, seed: int, spacing: float = 1.0, **settings: float) -> SimulatedLearner:
    """A learner on ``size`` prompts, in equal numbers per level, each level ``spacing`` harder than the one before."""
    level = np.arange(size) % levels
    noise = generator(seed, "init").normal(0, 0.1, size)
    return SimulatedLearner(level, (level - 0.5) * spacing + noise, seed, **settings)


def pool_for(learner: SimulatedLearner, prompts: int = 8, steps: int = 40, steps_per_epoch: int = 4) -> PromptPool:
    """A pool whose live signal is the true pass rate of the learner."""
    return PromptPool(
        size=len(learner.levels),
        prompts_per_step=prompts,
        steps_per_epoch=steps_per_epoch,
        total_steps=steps,
        group_size=learner.group_size,
        levels=learner.levels + 1,
        difficulties=100 * (1 - learner.pass_rates()),
        measure=learner.pass_rates,
        states=learner.states,
        column=lambda name: (
            np.array([f"p{row}" for row in range(len(learner.levels))])
            if name == "id"
            else np.array([f"data/level{level}" for level in learner.levels])
        ),
    )


def easy_first(learner: SimulatedLearner) -> SignalScores:
    return SignalScores("pass_rate", learner.pass_rates().copy(), "high")


def one_step(
    curriculum: Curriculum,
    pool: PromptPool,
    learner: SimulatedLearner,
    refill: int = 0,
    train: bool = True,
    correct: list[float] | None = None,
    concentration: float = 0.3,
) -> np.ndarray:
    """Proposes, rolls out, observes and trains, as the framework does; returns the rows of the step."""
    rows = curriculum.propose(pool.prompts_per_step)
    rounds = [rows]
    if refill:
        rounds.append(curriculum.propose(refill, exclude=rows.tolist()))
    for part in rounds:
        groups = learner.roll_out(part, pool.step)
        pool.history.observe(groups)
        if part is rounds[-1]:
            pool.counters.step += 1
        curriculum.observe(groups)
        if part is rounds[-1]:
            curriculum.after_update(dict.fromkeys(np.concatenate(rounds).tolist(), concentration))
        if correct is not None:
            correct += [group.pass_rate for group in groups]
    rows = np.concatenate(rounds)
    if train:
        learner.train(rows)
    return rows


def run(
    curriculum: Curriculum,
    pool: PromptPool,
    learner: SimulatedLearner,
    *,
    steps: int,
    seed: int = 0,
    signal: SignalScores | None = None,
    refill: int = 0,
    each_step: Callable[[np.ndarray], None] = lambda rows: None,
) -> None:
    """A whole run of ``steps`` steps."""
    curriculum.start(pool, signal or easy_first(learner), seed)
    rates: list[float] = []
    for step in range(steps):
        each_step(one_step(curriculum, pool, learner, refill, correct=rates))
        if (step + 1) % pool.steps_per_epoch == 0:
            curriculum.end_epoch(EpochFeedback(step // pool.steps_per_epoch, float(np.mean(rates))))
            rates.clear()


def group(row: int, correct: int, group_size: int = 8, step: int = 0) -> GroupOutcome:
    """A group whose first ``correct`` completions are correct."""
    return outcome(row, step, np.arange(group_size) < correct)


def report(curriculum: Curriculum, pool: PromptPool, groups: list[GroupOutcome]) -> None:
    """Tells pool and curriculum what a step showed, as the framework does."""
    pool.history.observe(groups)
    pool.counters.step += 1
    curriculum.observe(groups)


def strong_model(folder: Path, splits: DataSplits) -> Path:
    """The table of a model that passes nine in ten of a data set's training problems, as gainrl-rank writes it."""
    file = folder / "strong.csv"
    file.write_text("id,pass_rate\n" + "".join(f"{one},0.9\n" for one in splits.train.column("id")))
    return file
