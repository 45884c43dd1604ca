"""Weights & Biases through Lightning's logger: online with a key, offline without, and never a question."""

from __future__ import annotations

import netrc
import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gainrl.app.errors import ConfigError
from gainrl.app.identity import fingerprint, plain_config

_MODES = ("auto", "online", "offline", "disabled")


def check_tracking(config: DictConfig) -> None:
    """Raises ConfigError for an unknown mode, tags that are no list of texts, or a table without rows."""
    settings = config.logger.wandb
    if settings is None:
        return
    if not isinstance(settings, DictConfig):
        raise ConfigError(f"logger.wandb={settings} is not a group of settings; type logger=none to log without W&B")
    if settings.mode not in _MODES:
        raise ConfigError(f"logger.wandb.mode={settings.mode!r} is unknown; use one of {', '.join(_MODES)}")
    if isinstance(settings.tags, str):
        raise ConfigError(f"logger.wandb.tags={settings.tags} is one text; type 'logger.wandb.tags=[{settings.tags}]'")
    for name in ("samples_every", "samples"):
        value = settings[name]
        if not (value is None and name == "samples_every") and (not isinstance(value, int) or value < 1):
            raise ConfigError(
                f"logger.wandb.{name}={value} must be 1 or more; logger.wandb.samples_every=null for no tables"
            )


def make_logger(config: DictConfig, folder: Path) -> Any:
    """A `Tracker` or None. Its ``name`` is arm and seed, its ``id`` the fingerprint.

    Its ``group`` is the arm, in a sweep behind the sweep's name, so that seeds group without any manual work. Tags are
    those given, the experiment, and the sweep. The offline runs of a sweep lie beside each other in its folder, so that
    ``wandb leet`` compares them. Raises ConfigError for an unknown mode.
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

    from gainrl.app.tracker import Tracker

    plain = plain_config(config)
    arm, sweep = str(config.run.arm), config.run.sweep
    place = _sweep_folder() or folder  # of all runs of a sweep, so that a client without a server compares them
    create = partial(
        Tracker,
        rollouts=folder / "rollouts.jsonl",
        samples_every=settings.samples_every,
        samples=settings.samples,
        project=settings.project,
        entity=settings.entity,
        notes=settings.notes,
        name=f"{arm}-s{config.seed}"[:128],
        group=(f"{sweep}/{arm}" if sweep else arm)[-128:],
        id=fingerprint(plain),
        tags=list(dict.fromkeys(str(tag)[:64] for tag in (*settings.tags, config.run.experiment, sweep) if tag)),
        save_dir=str(place),
        resume="allow",
        config=plain,
        settings=wandb.Settings(silent=True, console="off"),
    )
    logger = create(offline=mode == "offline")
    if mode == "online":
        try:
            assert logger.experiment is not None  # connects, or raises the reason
        except Exception as fault:
            warnings.warn(
                f"W&B cannot be reached ({type(fault).__name__}: {fault}); the run is stored in {place / 'wandb'} and "
                "`wandb sync` sends it later",
                stacklevel=2,
            )
            _end_service()  # it holds the id of the run that it could not start
            logger = create(offline=True)
    return logger


def _sweep_folder() -> Path | None:
    """The folder of the multirun that this process runs a job of; None for a single run."""
    if HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN:
        return Path(HydraConfig.get().sweep.dir)
    return None


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
    except Exception as fault:  # it would wait for the process that is gone
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
