"""Weights & Biases through Lightning's logger: online with a key, offline without, and never a question."""

from __future__ import annotations

import netrc
import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from gainrl.app.errors import ConfigError
from gainrl.app.identity import fingerprint, plain_config

_MODES = ("auto", "online", "offline", "disabled")


def check_tracking(config: DictConfig) -> None:
    """Raises ConfigError for an unknown mode."""
    settings = config.logger.wandb
    if settings is not None and settings.mode not in _MODES:
        raise ConfigError(f"logger.wandb.mode={settings.mode!r} is unknown; use one of {', '.join(_MODES)}")


def make_logger(config: DictConfig, folder: Path) -> Any:
    """A `WandbLogger` or None. ``group`` is the arm, ``name`` arm and seed, ``id`` the fingerprint, so that runs of one
    arm group over seeds without any manual work. Raises ConfigError for an unknown mode.
    """
    check_tracking(config)
    settings = config.logger.wandb
    if settings is None:
        return None
    mode = wandb_mode(settings.mode)
    if mode == "disabled":
        return None
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    plain = plain_config(config)
    arm = str(config.run.arm)
    create = partial(
        WandbLogger,
        project=settings.project,
        name=f"{arm}-s{config.seed}"[:128],
        group=arm[:128],
        id=fingerprint(plain),
        tags=[str(tag)[:64] for tag in (config.run.experiment, config.run.sweep) if tag],
        save_dir=str(folder),
        resume="allow",
        config=plain,
        settings=wandb.Settings(silent=True, console="off"),
    )
    logger = create(offline=mode == "offline")
    logger._wandb_init.pop("anonymous", None)  # Lightning names a setting that wandb warns of on every start
    if mode == "online":
        try:
            assert logger.experiment is not None  # connects, or says why it cannot
        except Exception as fault:
            warnings.warn(
                f"W&B cannot be reached ({type(fault).__name__}: {fault}); the run is kept in {folder / 'wandb'} and "
                "`wandb sync` sends it later",
                stacklevel=2,
            )
            _end_service()  # it holds the id of the run that it could not start
            logger = create(offline=True)
            logger._wandb_init.pop("anonymous", None)
    return logger


def restart_tracker(logger: Any) -> bool:
    """Starts W&B's own process again when it is gone, with an offline run under the same id; False if it cannot.

    ``wandb sync`` sends that run later. What the process had not written yet is lost with it, so the run wants all
    its rows once more.
    """
    _end_service()
    try:
        logger._experiment = None
        logger._offline = True
        logger._wandb_init["mode"] = "offline"
        return logger.experiment is not None
    except Exception as fault:
        warnings.warn(f"W&B cannot be started again ({type(fault).__name__}: {fault})", stacklevel=2)
        return False


def _end_service() -> None:
    """Ends W&B's own process, which may be gone already, so that the next run starts a new one."""
    import wandb

    try:
        wandb.teardown()
    except Exception as fault:  # it would say goodbye to the process that is gone
        warnings.warn(f"W&B's process is gone ({type(fault).__name__}: {fault})", stacklevel=2)
    wandb.run = None  # else Lightning's logger takes the run that is gone


def wandb_mode(wanted: str) -> str:
    """``auto`` is online where W&B has a key (environment or netrc), else offline; WANDB_MODE has the last word."""
    given = os.environ.get("WANDB_MODE")
    if given in ("online", "offline", "disabled"):
        return given
    if wanted != "auto":
        return wanted
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    try:
        host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].strip("/")
        return "online" if netrc.netrc().authenticators(host) else "offline"
    except (OSError, netrc.NetrcParseError):
        return "offline"


def close_logger(logger: Any, *, failed: bool) -> None:
    """Ends the W&B run, as failed if it did, so that the next job of the process starts its own."""
    if logger is None:
        return
    import wandb

    if wandb.run is not None:
        try:
            wandb.finish(exit_code=1 if failed else 0)
        except Exception as fault:  # its process may be gone, and the run is complete without it
            warnings.warn(f"W&B could not be closed ({type(fault).__name__}: {fault})", stacklevel=2)
