"""What is observed: a model on a data set, or a run with its model before, during and after training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from gainrl.app.build import load_policy
from gainrl.app.early import NO_RUN
from gainrl.app.errors import ConfigError, first_cause
from gainrl.app.trained import load_checkpoint
from gainrl.datasets.checks import clean
from gainrl.datasets.splits import training_problems
from gainrl.datasets.templates import BoundPrompts
from gainrl.functional.streams import generator
from gainrl.models.hub import HubModel
from gainrl.types import Policy, ProblemSet, PromptTokens


@dataclass(frozen=True, slots=True)
class Stage:
    """A model at one time of its training. ``step`` counts rollout steps, 0 before the first."""

    label: str
    step: int
    load: Callable[[], Policy]


@dataclass(frozen=True, slots=True)
class Subject:
    """``stages``: the model before training and, of a run, at its checkpoints and at its end, in order.

    ``folder`` and ``steps_per_epoch`` are a run's, None otherwise.
    """

    name: str
    problems: ProblemSet
    template: BoundPrompts
    stages: list[Stage]
    folder: Path | None = None
    steps_per_epoch: int | None = None

    @property
    def start(self) -> Stage:
        return self.stages[0]

    def prompts(self, rows: np.ndarray) -> list[PromptTokens]:
        return self.template.encode_problems([self.problems[int(row)] for row in rows])

    def sample(self, count: int, seed: int) -> np.ndarray:
        """``count`` rows of the training problems, or all of them, in ascending order."""
        size = len(self.problems)
        if count >= size:
            return np.arange(size)
        return np.sort(generator(seed, "observe").choice(size, size=count, replace=False))

    def median_row(self) -> int:
        """The row whose question has the median length, in characters; the first of several."""
        lengths = np.array([len(self.problems[row].question) for row in range(len(self.problems))])
        return int(np.argsort(lengths, kind="stable")[len(lengths) // 2])

    def with_policies(self) -> Iterator[tuple[Stage, Policy]]:
        """One stage after the other, so that a single model is held at a time."""
        for stage in self.stages:
            yield stage, stage.load()


def find_subject(config: DictConfig, console: Console) -> Subject:
    """The subject that the configuration names; raises ConfigError if run, data set or device cannot be used."""
    folder = None if config.run is None else Path(config.run).expanduser()
    stored: Any = config
    if folder is not None:
        if not (folder / "config.yaml").is_file():
            raise ConfigError(NO_RUN.format(config.run))
        stored = OmegaConf.load(folder / "config.yaml")
    try:
        source = instantiate(stored.model, _convert_="all")
        source.check()
        template = instantiate(stored.template, _convert_="all").bind(source.tokenizer())
        splits, _ = clean(instantiate(stored.dataset, _convert_="all"))
    except InstantiationException as fault:
        raise ConfigError(first_cause(fault)) from fault
    train = training_problems(splits)
    device = _device(config.accelerator)

    def begin() -> Policy:
        policy = load_policy(source, template, splits.warm_start, console)
        policy.model.to(device)
        return policy

    stages = [Stage("before training", 0, begin)]
    if folder is None:
        return Subject(train.name, train, template, stages)
    stages += _later_stages(folder, begin, device)
    return Subject(str(folder), train, template, stages, folder, int(stored.schedule.steps_per_epoch))


def _later_stages(folder: Path, begin: Callable[[], Policy], device: torch.device) -> list[Stage]:
    def resumed(path: Path) -> Policy:
        policy = begin()
        load_checkpoint(policy, path)
        return policy

    def trained() -> Policy:
        policy = HubModel(source=str(folder / "policy")).load()
        policy.model.to(device)
        return policy

    last = _last_step(folder)
    steps = {int(path.stem.split("-")[1]): path for path in sorted((folder / "checkpoints").glob("step-*.ckpt"))}
    stages = [Stage(f"step {step}", step, partial(resumed, path)) for step, path in sorted(steps.items()) if step]
    if (folder / "policy" / "config.json").is_file():
        stages = [stage for stage in stages if stage.step != last]
        stages.append(Stage("after training", last, trained))
    return stages


def _device(accelerator: str) -> torch.device:
    if accelerator not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"accelerator={accelerator!r} is unknown; use auto, cpu or cuda")
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(accelerator)


def _last_step(folder: Path) -> int:
    """The last step whose numbers a run has written."""
    import pandas as pd

    path = folder / "metrics.csv"
    return int(pd.read_csv(path, usecols=["step"])["step"].max()) if path.is_file() else 0
