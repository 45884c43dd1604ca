"""The parts of a run that benchmarks of a language model use, built from its configuration."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmarks.bases import composed
from gainrl.types import Policy, RolloutEngine


@dataclass(frozen=True, slots=True)
class RunParts:
    config: DictConfig
    policy: Policy
    splits: Any
    engine: RolloutEngine
    template: Any

    @classmethod
    def of(cls, overrides: Sequence[str], threads: int) -> RunParts:
        """Sets the number of threads and loads the model."""
        torch.set_num_threads(threads)
        config = composed(list(overrides))
        policy = instantiate(config.model, _convert_="all").load()
        return cls(
            config,
            policy,
            instantiate(config.dataset, _convert_="all"),
            instantiate(config.rollout.engine, _convert_="all"),
            instantiate(config.template, _convert_="all").bind(policy.tokenizer),
        )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("overrides", nargs="*", default=["experiment=smollm2"], help="settings of a run")
