"""The loggers of a run: `logger=wandb`, `tensorboard`, `mlflow`, `csv`, `none`, or a list such as `logger=[wandb,csv]`.

W&B has settings of its own (`app.tracking`). The others are Lightning's loggers, built from the ``_target_`` of their
option; what a run logs goes to each of them under the same names and the same steps.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from gainrl.app.errors import ConfigError, first_cause
from gainrl.app.tracking import check_tracking, close_logger, make_logger, restart_tracker

_NEEDS = {
    "TensorBoardLogger": (("tensorboard", "tensorboardX"), "tensorboard"),
    "MLFlowLogger": (("mlflow",), "mlflow"),
}


def check_trackers(config: DictConfig) -> None:
    """Raises ConfigError for impossible W&B settings, and for a logger whose library is not installed."""
    if config.logger.get("wandb") is not None:
        check_tracking(config)
    for name, node in _others(config).items():
        if "_target_" not in node:
            raise ConfigError(f"logger.{name} names no class; type logger={name}, or logger.{name}._target_=...")
        modules, package = _NEEDS.get(str(node["_target_"]).rpartition(".")[2], ((), ""))
        if modules and not any(find_spec(module) for module in modules):
            raise ConfigError(f"logger={name} needs {package}, which is not installed; type pip install {package}")


def make_loggers(config: DictConfig, folder: Path) -> list[Any]:
    """The run's loggers, W&B first. Raises ConfigError for settings that they refuse."""
    check_trackers(config)
    wandb = make_logger(config, folder) if config.logger.get("wandb") is not None else None
    found = [] if wandb is None else [wandb]
    for name, node in _others(config).items():
        try:
            found.append(instantiate(node, _convert_="all"))
        except InstantiationException as fault:
            raise ConfigError(f"logger.{name}: {first_cause(fault)}") from fault
    return found


def repair(logger: Any) -> bool:
    """Whether a logger that failed works again: W&B's process can be started anew."""
    return is_wandb(logger) and restart_tracker(logger)


def close_loggers(loggers: list[Any], *, failed: bool) -> None:
    """Closes the loggers, as failed if the run failed."""
    for logger in loggers:
        if is_wandb(logger):
            close_logger(logger, failed=failed)
            continue
        try:
            logger.finalize("failed" if failed else "success")
        except Exception as fault:  # the run is complete without it
            warnings.warn(f"{type(logger).__name__} could not be closed ({fault})", stacklevel=2)


def is_wandb(logger: Any) -> bool:
    return hasattr(logger, "_wandb_init")


def _others(config: DictConfig) -> dict[str, Any]:
    return {str(name): node for name, node in config.logger.items() if name != "wandb" and node is not None}
