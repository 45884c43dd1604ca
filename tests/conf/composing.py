"""Compositions of the main configuration, as ``gainrl-train`` would make them."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from gainrl.app.identity import fingerprint, plain_config
from gainrl.app.resolvers import arm_name
from gainrl.app.validate import validate

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
ARM_GROUPS = {"curriculum", "signal", "admission", "algorithm"}


def options(folder: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / folder).glob("*.yaml"))


def content(folder: str, name: str) -> dict:
    return yaml.safe_load((ROOT / folder / f"{name}.yaml").read_text(encoding="utf-8")) or {}


def composed(overrides: Sequence[str]) -> DictConfig:
    """The job's configuration, Hydra's node included, with the values that only a started job has filled in."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", list(overrides), return_hydra_config=True)
    choices = config.hydra.runtime.choices
    values = {"output_dir": "out", "arm": arm(config), "experiment": choices.experiment, "sweep": choices.sweep}
    values["overrides"] = list(overrides)
    for name, value in values.items():
        OmegaConf.update(config, f"run.{name}", value)
    return config


def arm(config: DictConfig) -> str:
    """The part of a run's directory that names its arm."""
    return arm_name(config.hydra.job.override_dirname)


@cache
def validated(*overrides: str) -> tuple[DictConfig, str]:
    """The job's own configuration, checked as before a start, and its arm. Shared between tests: not to be changed."""
    config = composed(overrides)
    name = arm(config)
    job = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    validate(job)
    return job, name


@cache
def settings(*overrides: str) -> str:
    """All that decides the numbers of a job, as text."""
    return fingerprint({**plain_config(validated(*overrides)[0]), "run": {}})
