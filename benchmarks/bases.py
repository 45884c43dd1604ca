"""Makes the warm-started weights that come with the package, and shows how their levels are graded.

    python -m benchmarks.bases [--experiment default testbed] [--seeds 0 1 2 3 4] [--output DIR]

Runs the recipe of each experiment for each ``model.seed`` on this machine, rounds the weights to bfloat16, and writes
them with `bases.json` into ``gainrl/models/weights`` (or DIR). Another processor arrives at other weights. The levels shown are of
training problems: greedy accuracy, the share of correct samples, and how many levels lie between 5% and 95%.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from benchmarks.tables import print_table
from gainrl.app.paths import config_dir
from gainrl.training.evaluation import EvaluationSet, EvaluationSettings, Scores, evaluate, scores
from gainrl.training.warm_start.shipped import FOLDER, load_shipped, write_shipped
from gainrl.training.warm_start.supervised import train_supervised

PER_LEVEL, SAMPLES = 40, 4


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", nargs="+", default=["default", "testbed"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args(given)
    rows = []
    for experiment in options.experiment:
        for seed in options.seeds:
            graded = make(experiment, seed, options.output)
            greedy, sampled = by_level(graded, "accuracy"), by_level(graded, f"avg@{SAMPLES}")
            between = sum(0.05 <= rate <= 0.95 for rate in sampled)
            rows.append([f"{experiment}-{seed}", _text(greedy), _text(sampled), float(np.mean(greedy)), between])
    print_table(["base", "greedy by level", "sampled by level", "greedy mean", "graded levels"], rows)


def make(experiment: str, seed: int, folder: Path) -> Scores:
    """Trains and writes one base; its scores on training problems, with the weights as written."""
    config = composed([*([] if experiment == "default" else [f"experiment={experiment}"]), f"model.seed={seed}"])
    source = instantiate(config.model, _convert_="all")
    template = instantiate(config.template, _convert_="all").bind(source.tokenizer())
    with tempfile.TemporaryDirectory() as cache:
        splits = instantiate(config.dataset, _convert_="all", cache_dir=cache)
        policy = source.load()
        train_supervised(policy, source.warm_start, template, splits.warm_start)
        recipe = (source.warm_start, source.identity(), template, splits.warm_start)
        name = f"{experiment}-{seed}"
        load_shipped(write_shipped(name, policy, *recipe, levels=[], folder=folder), policy, folder)
        levels = splits.train.column("level")
        chosen = np.concatenate([np.flatnonzero(levels == level)[-PER_LEVEL:] for level in np.unique(levels)])
        probe = EvaluationSet("graded", splits.train.select(chosen), instantiate(config.reward, _convert_="all"))
        settings = EvaluationSettings(samples=SAMPLES, max_new_tokens=config.rollout.max_new_tokens)
        engine = instantiate(config.rollout.engine, _convert_="all")
        policy.model.eval()
        graded = scores(probe, evaluate(probe, policy, engine=engine, template=template, settings=settings), settings)
        write_shipped(name, policy, *recipe, levels=by_level(graded, "accuracy"), folder=folder)
    return graded


def by_level(graded: Scores, measure: str) -> list[float]:
    values = graded.values[measure]
    return [round(float(values[graded.levels == level].mean()), 3) for level in np.unique(graded.levels)]


def composed(overrides: list[str]) -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("config", overrides)


def _text(rates: list[float]) -> str:
    return " ".join(f"{rate:.2f}" for rate in rates)


if __name__ == "__main__":
    main()
