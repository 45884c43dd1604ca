"""Makes the warm-started weights that come with the package.

    python -m benchmarks.bases --experiment default --seeds 2
    python -m benchmarks.bases --experiment testbed --seeds 0 1 3 4 5      [--output DIR]

Runs the recipe of each experiment for each ``model.seed`` on this machine (another processor arrives at other weights)
and looks at the model every 20 steps: from the first look at which solutions had a mean probability of at least
``stop_at`` - 0.05 over ten steps, to the last one before it is ``stop_at`` + 0.05. A look counts if the easiest level
is nearly solved (8 of 10 samples right); of those the one whose levels are most graded is kept: the largest mean over
levels of p (1 - p), with p the share of correct samples on training problems. A seed without such a look, or whose best
has fewer than three levels of greedy accuracy between .1 and .9, gives no base. The weights are rounded to bfloat16 and
written with `bases.json` into ``gainrl/models/weights``, or DIR.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from benchmarks.tables import print_table
from gainrl.app.paths import config_dir
from gainrl.training.evaluation import EvaluationSet, EvaluationSettings, evaluate, scores
from gainrl.training.warm_start.shipped import FOLDER, load_shipped, write_shipped
from gainrl.training.warm_start.supervised import WarmStartProgress, train_supervised
from gainrl.types import Policy

EVERY, MARGIN = 20, 0.05  # steps between looks; how far around stop_at
EASIEST = 0.8  # share of right samples of the easiest level
GRADED, LOWEST, HIGHEST = 3, 0.1, 0.9  # how many levels must have a greedy accuracy between these
PER_LEVEL, SAMPLES = 40, 4
_MEASURES = {"greedy": "accuracy", "sampled": f"avg@{SAMPLES}"}


class Grades:
    """Accuracy by level on the last ``PER_LEVEL`` training problems of each level."""

    def __init__(self, config: DictConfig, splits: Any, template: Any) -> None:
        levels = splits.train.column("level")
        rows = np.concatenate([np.flatnonzero(levels == level)[-PER_LEVEL:] for level in np.unique(levels)])
        self.problems = EvaluationSet("graded", splits.train.select(rows), instantiate(config.reward))
        self.settings = EvaluationSettings(samples=SAMPLES, max_new_tokens=config.rollout.max_new_tokens, seed=7)
        self.engine, self.template = instantiate(config.rollout.engine), template

    @torch.no_grad()
    def __call__(self, policy: Policy) -> dict[str, list[float]]:
        """``greedy`` and ``sampled``: one accuracy for each level."""
        policy.model.eval()
        completions = evaluate(
            self.problems, policy, engine=self.engine, template=self.template, settings=self.settings
        )
        policy.model.train()
        found = scores(self.problems, completions, self.settings)
        return {name: list(found.means(column).values()) for name, column in _MEASURES.items()}


def spread(rates: list[float]) -> float:
    """Mean over levels of p (1 - p)."""
    return float(np.mean([rate * (1 - rate) for rate in rates]))


class Enough(Exception):
    """Ends the warm start once no further look can count."""


class Looks:
    """Keeps the weights of the most graded look between two mean probabilities of a solution."""

    def __init__(self, policy: Policy, grades: Grades, low: float, high: float) -> None:
        self.policy, self.grades, self.low, self.high = policy, grades, low, high
        self.recent: deque[float] = deque(maxlen=10)
        self.started = False
        self.best: tuple[float, int, dict[str, Tensor]] | None = None

    def __call__(self, progress: WarmStartProgress) -> None:
        self.recent.append(progress.probability)
        if progress.step % EVERY:
            return
        probability = sum(self.recent) / len(self.recent)
        if probability >= self.high:
            raise Enough
        self.started |= probability >= self.low
        if self.started:
            rates = self.grades(self.policy)["sampled"]
            if rates[0] >= EASIEST and (self.best is None or spread(rates) > self.best[0]):
                weights = {name: value.detach().clone() for name, value in self.policy.model.named_parameters()}
                self.best = (spread(rates), progress.step, weights)


def make(experiment: str, seed: int, folder: Path) -> list[str | float] | None:
    """Trains, chooses and writes one base; a row of the table, graded with the weights as written."""
    config = composed([*([] if experiment == "default" else [f"experiment={experiment}"]), f"model.seed={seed}"])
    source = instantiate(config.model, _convert_="all")
    settings, template = source.warm_start, instantiate(config.template, _convert_="all").bind(source.tokenizer())
    with tempfile.TemporaryDirectory() as cache:
        splits = instantiate(config.dataset, _convert_="all", cache_dir=cache)
        grades, policy = Grades(config, splits, template), source.load()
        looks = Looks(policy, grades, settings.stop_at - MARGIN, settings.stop_at + MARGIN)
        with suppress(Enough):
            train_supervised(policy, replace(settings, stop_at=None), template, splits.warm_start, progress=looks)
        if looks.best is None:
            print(f"{experiment}-{seed}: no look has the easiest level nearly solved; no base", flush=True)
            return None
        _, step, weights = looks.best
        policy.model.load_state_dict(weights, strict=False)
        recipe = (settings, source.identity(), template, splits.warm_start)
        base = write_shipped(f"{experiment}-{seed}", policy, *recipe, levels=[], folder=Path(cache))
        load_shipped(base, policy, Path(cache))  # rounded, as it would be shipped
        rates = grades(policy)
        if sum(LOWEST <= rate <= HIGHEST for rate in rates["greedy"]) < GRADED:
            print(f"{base.name}: fewer than {GRADED} levels between {LOWEST} and {HIGHEST}; no base", flush=True)
            return None
        write_shipped(base.name, policy, *recipe, levels=[round(rate, 3) for rate in rates["greedy"]], folder=folder)
    row = [base.name, str(step), _text(rates["greedy"]), _text(rates["sampled"]), float(np.mean(rates["greedy"]))]
    print(*row, flush=True)
    return [*row, spread(rates["sampled"])]


def composed(overrides: list[str]) -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("config", overrides)


def _text(rates: list[float]) -> str:
    return " ".join(f"{rate:.2f}" for rate in rates)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", nargs="+", default=["default", "testbed"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args(given)
    made = [make(experiment, seed, options.output) for experiment in options.experiment for seed in options.seeds]
    rows = [row for row in made if row is not None]
    print_table(["base", "step", "greedy by level", "sampled by level", "greedy mean", "mean p (1 - p)"], rows)


if __name__ == "__main__":
    main()
