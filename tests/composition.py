"""Configurations as the command line composes them, without running anything. Each is composed once and shared."""

from __future__ import annotations

import hashlib
import pickle
from functools import cache
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from gainrl.app.identity import fingerprint, plain_config
from gainrl.app.paths import config_dir
from gainrl.app.validate import validate
from gainrl.report.plan import arm_name
from gainrl.types import Problem

CONF = config_dir()
ROOT = Path(__file__).parents[1]
ARM_GROUPS = {"curriculum", "signal", "admission", "algorithm"}
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

# Two data sets in one run, in place of the problems above.
MIXTURE = (
    "dataset=mixture",
    "+dataset@dataset.sources.short=arithmetic",
    "+dataset@dataset.sources.long=arithmetic",
    "dataset.sources.short.terms=[2]",
    "dataset.sources.long.terms=[3]",
    *(f"dataset.sources.{name}.train_per_level=12" for name in ("short", "long")),
    *(f"dataset.sources.{name}.held_out_per_level=4" for name in ("short", "long")),
)


def coin(completion: str, problem: Problem) -> float:
    """1 or 0, always the same for the same completion: a policy of noise has mixed groups to learn from."""
    return float(hashlib.blake2b(f"{problem.id} {completion}".encode(), digest_size=1).digest()[0] % 2)


def options(group: str) -> list[str]:
    """The files of a folder of ``conf``, as they are named on the command line."""
    folder = (CONF / group).resolve()
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))


def content(group: str, name: str) -> dict:
    return yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8")) or {}


@cache
def whole(*overrides: str) -> DictConfig:
    """The configuration with Hydra's node, and what only a started job has filled in. Shared: not to be changed."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", list(overrides), return_hydra_config=True)
    choices = config.hydra.runtime.choices
    values = {"output_dir": "out", "arm": arm(config), "experiment": choices.experiment, "sweep": choices.sweep}
    for name, value in (values | {"overrides": list(overrides)}).items():
        OmegaConf.update(config, f"run.{name}", value)
    OmegaConf.set_readonly(config, True)
    return config


def arm(config: DictConfig) -> str:
    """The part of a run's directory that names its arm."""
    return arm_name(config.hydra.job.override_dirname)


@cache
def validated(*overrides: str) -> tuple[DictConfig, str]:
    """The job's own configuration, checked as before a start, and its arm. Shared: not to be changed."""
    config = whole(*overrides)
    job = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    validate(job)
    return job, arm(config)


@cache
def settings(*overrides: str) -> str:
    """All that decides the numbers of a job, as text."""
    return fingerprint(plain_config(validated(*overrides)[0]))


@cache
def _composed(*overrides: str) -> bytes:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return pickle.dumps(compose("config", [*_RUN, "run.output_dir=unused", *overrides]))


def composed(*overrides: str, folder: Path | str = "unused") -> DictConfig:
    """The configuration of one job that would run in ``folder``, for the caller to change as it likes."""
    config: DictConfig = pickle.loads(_composed(*overrides))
    OmegaConf.update(config, "run.output_dir", str(folder))
    return config


def directories(*overrides: str) -> tuple[Path, Path]:
    """Where Hydra would put the job: as a single run, and as a job of a sweep."""
    hydra = whole(*overrides).hydra
    return Path(hydra.run.dir), Path(hydra.sweep.dir) / hydra.sweep.subdir
