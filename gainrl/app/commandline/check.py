"""Composes what was typed and checks it as a job would, before Hydra starts anything."""

from __future__ import annotations

import copy
import re

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from gainrl.app.commandline.composing import Composer, resolvable
from gainrl.app.commandline.flags import Typed
from gainrl.app.commandline.keys import check_keys
from gainrl.app.commandline.naming import sweep_places
from gainrl.app.commandline.settings import Setting, read_settings
from gainrl.app.early import check_early
from gainrl.app.errors import ConfigError
from gainrl.app.validate import validate


def check(command: str, primary: str, typed: Typed) -> list[str]:
    """The settings as Hydra wants them. Raises ConfigError for what cannot be read, composed or run."""
    settings = read_settings(typed.settings, multirun=True)
    composer = Composer(primary, typed.flags.get("config_dir"))
    try:
        settings, config = check_keys(settings, composer, command)
        multirun = typed.multirun or str(config.hydra.mode).endswith("MULTIRUN")
        if not multirun:
            read_settings(typed.settings, multirun=False)
        texts = [one.text() for one in settings]
        if multirun:
            swept = set(OmegaConf.select(config, "hydra.sweeper.params", default=None) or ())
            texts = [_of_the_jobs(one) if one.key in swept else one.text() for one in settings]
            texts += sweep_places(settings, config)
        if not any(one.key == "hydra.mode" for one in settings):
            texts.append(f"hydra.mode={'MULTIRUN' if multirun else 'RUN'}")  # else Hydra composes all to find out
        if not multirun and "info" not in typed.flags:
            values = [one.text() for one in settings if not composer.is_group(one.key.partition("@")[0])]
            _apply(config, values)
            if "cfg" not in typed.flags:
                with resolvable(config):
                    job = job_of(config)
                    validate(job, primary)
                    check_early(job)
    except (HydraException, OmegaConfBaseException) as fault:
        raise ConfigError(_of_ones_own(fault, composer) or composition_fault(fault)) from fault
    finally:
        GlobalHydra.instance().clear()
    return texts


def _of_the_jobs(setting: Setting) -> str:
    """One option for a group that a sweep's file sets, and that Hydra would not find where no job is composed yet."""
    if setting.sweeps or "@" not in setting.key:
        return setting.text()
    return f"hydra.sweeper.params={{{setting.key}:{setting.value}}}"


def _of_ones_own(fault: BaseException, composer: Composer) -> str | None:
    """What a file in ``--config-dir`` lacks, where that is the reason of a fault."""
    found = re.match(r"In '([^']+)': Could not override '", str(fault))
    path = composer.without_package(found[1]) if found else None
    if path is None:
        return None
    return f"{path} sets other groups, so its first line must be: # @package _global_"


def _apply(config: DictConfig, values: list[str]) -> None:
    ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides(values), config)


def job_of(config: DictConfig) -> DictConfig:
    """A composed configuration as a job gets it, without Hydra's node; for use within `resolvable`."""
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.runtime.output_dir = "unused"
    job = copy.deepcopy(config)
    with open_dict(job):
        del job["hydra"]
    return job


def composition_fault(fault: BaseException) -> str:
    """The first line of a fault of Hydra or OmegaConf, without its advice."""
    first = next((line.strip() for line in str(fault).splitlines() if line.strip()), type(fault).__name__)
    if first.startswith("Could not override"):
        key = first.partition("'")[2].partition("'")[0]
        return f"{key} cannot be set, since another setting leaves nothing there to set; type one of the two"
    cause = fault.__cause__
    return first if cause is None or str(cause).split("\n")[0] in first else f"{first}: {str(cause).splitlines()[0]}"
