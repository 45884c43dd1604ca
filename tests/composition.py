"""Configurations as the command line composes them, without running anything."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from gainrl.app.paths import config_dir
from gainrl.types import Problem

CONF = config_dir()
_RUN = ("run.arm=arm", "run.experiment=null", "run.sweep=null", "run.overrides=[]")

# A whole run in about a second: two levels, three steps, three supervised steps.
SMALL = (
    "debug=fast",
    "schedule.steps=3",
    "schedule.prompts_per_step=4",
    "evaluation.samples=0",
    "evaluation.limit=2",
    "dataset.terms=[2,3]",
    "dataset.train_per_level=12",
    "dataset.held_out_per_level=4",
    "model.hidden_size=16",
    "model.intermediate_size=32",
    "model.warm_start.steps=3",
    "model.warm_start.sequences=8",
    "reward=custom",
    "reward.path=tests.composition:coin",
)


def coin(completion: str, problem: Problem) -> float:
    """1 or 0, always the same for the same completion: a policy of noise has mixed groups to learn from."""
    return float(hashlib.blake2b(f"{problem.id} {completion}".encode(), digest_size=1).digest()[0] % 2)


def composed(*overrides: str, folder: Path | str = "unused") -> DictConfig:
    """The configuration of one job that would run in ``folder``."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", [*_RUN, f"run.output_dir={folder}", *overrides])


def directories(*overrides: str) -> tuple[Path, Path]:
    """Where Hydra would put the job: as a single run, and as a job of a sweep."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [*overrides, "hydra.runtime.output_dir=unused"], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return Path(config.hydra.run.dir), Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
