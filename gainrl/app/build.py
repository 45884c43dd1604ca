"""What trains: the policy with its weights, the data module, the GRPO module and the callbacks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from rich.console import Console

from gainrl.app.components import Components
from gainrl.app.errors import ConfigError, first_cause
from gainrl.app.extraction_progress import reporter
from gainrl.app.precision import PURE
from gainrl.datasets.templates import BoundPrompts
from gainrl.files import cache_dir
from gainrl.training.callbacks import Checkpoints, Records, SignalRefresh
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.grpo import GRPOModule
from gainrl.training.runtime import Runtime
from gainrl.training.upkeep.nonfinite import NonfiniteGuard
from gainrl.training.warm_start.cache import warm_started
from gainrl.types import Policy, ProblemSet


def load_policy(source: Any, template: BoundPrompts, problems: ProblemSet | None, console: Console) -> Policy:
    """Loads the model from its source, or warm-starts it on the worked solutions of ``problems`` (cached)."""
    settings = source.warm_start
    if settings is None:
        return source.load()
    assert problems is not None

    def announce() -> None:
        goal = "" if settings.stop_at is None else f", until solutions have a probability of {settings.stop_at}"
        console.print(
            f"[bold]warm start[/bold]  at most {settings.steps} supervised steps on worked solutions{goal} "
            "(cached afterwards; other processors give slightly different weights)"
        )

    folder = warm_started(
        source.load,
        settings,
        source.identity(),
        template,
        problems,
        cache_dir=cache_dir(),
        announce=announce,
        progress=reporter(console),
    )
    console.print(f"[dim]warm-started weights: {folder}[/dim]", highlight=False)
    return source.load(folder)


def build_datamodule(config: DictConfig, components: Components, runtime: Runtime) -> PromptDataModule:
    return PromptDataModule(
        splits=components.splits,
        template=components.template,
        curriculum=components.curriculum,
        prompts_per_step=config.schedule.prompts_per_step,
        steps_per_epoch=config.schedule.steps_per_epoch,
        total_steps=config.schedule.steps,
        group_size=components.algorithm.group_size,
        runtime=runtime,
    )


def build_module(
    config: DictConfig, components: Components, policy: Policy, runtime: Runtime, bundle: Path | None = None
) -> GRPOModule:
    """``bundle``: where to keep the first update that is not finite; None keeps none."""
    return GRPOModule(
        policy=policy,
        engine=components.engine,
        reward=components.reward,
        admission=components.admission,
        allocation=components.allocation,
        algorithm=components.algorithm,
        sampling=components.sampling,
        prompts_per_step=config.schedule.prompts_per_step,
        optimization=components.optimization,
        concentration=components.concentration,
        mismatch=components.mismatch,
        guard=NonfiniteGuard(limit=config.faults.nonfinite_limit, bundle=bundle),
        runtime=runtime,
        pure_bfloat16=config.trainer.precision == PURE,
    )


def build_callback(name: str, node: DictConfig | None, open_values: Mapping[str, Any]) -> Any:
    """What one node of the group ``callbacks`` names, None for an empty one; see `build_callbacks`."""
    if node is None:
        return None
    if "_target_" not in node:
        raise ConfigError(
            f"callbacks.{name} names no class; type callbacks=[default,{name}] if {name} is an option of "
            f"conf/callbacks, or callbacks.{name}._target_=package.module.Class"
        )
    try:
        callback = instantiate(node, _convert_="all")
        if not isinstance(callback, partial):
            return callback
        takes = inspect.signature(callback.func).parameters
        return callback(**{key: value for key, value in open_values.items() if key in takes})
    except InstantiationException as fault:
        raise ConfigError(f"callbacks.{name}: {first_cause(fault)}") from fault


def build_callbacks(config: DictConfig, open_values: Mapping[str, Any]) -> list[Callback]:
    """The callbacks of the group ``callbacks``, in the order in which the trainer calls them.

    A node with ``_partial_: true`` gets the ``open_values`` whose names its constructor takes. `Records` comes
    after the others, so that its rows hold what they log, and `Checkpoints` last. Raises ConfigError for a node that
    is not a callback, and if a callback is missing that every run needs.
    """
    built: list[Callback] = []
    for name, node in config.callbacks.items():
        callback = build_callback(name, node, open_values)
        if callback is None:
            continue
        if not isinstance(callback, Callback):
            raise ConfigError(
                f"callbacks.{name} is a {type(callback).__name__}, not a Lightning callback; give it the _target_ of "
                f"one, or leave it out with '~callbacks.{name}'"
            )
        built.append(callback)
    for needed in (SignalRefresh, Records, Checkpoints):
        if not any(isinstance(callback, needed) for callback in built):
            raise ConfigError(
                f"callbacks lacks {needed.__name__}, which every run needs; add default to the list, "
                "as in callbacks=[default,...]"
            )
    return sorted(built, key=lambda callback: isinstance(callback, Records) + 2 * isinstance(callback, Checkpoints))
