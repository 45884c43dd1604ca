"""Resolvers for the configuration, registered when this module is imported, so that worker processes have them too."""

from __future__ import annotations

from pathlib import PurePath

from omegaconf import OmegaConf

from gainrl.report.plan import arm_name


def sweep_name(file: str | None, mode: object, folder: str) -> str | None:
    """The name of a multirun: its sweep file, else its folder; None for a single run."""
    if file is not None:
        return file
    return PurePath(folder).name if str(mode).endswith("MULTIRUN") else None


def _register() -> None:
    OmegaConf.register_new_resolver("arm_name", arm_name, replace=True)
    OmegaConf.register_new_resolver("path_name", lambda name: arm_name(str(name or "default")), replace=True)
    OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True)
    OmegaConf.register_new_resolver("mul", lambda a, b: a * b, replace=True)
    OmegaConf.register_new_resolver("floordiv", lambda a, b: a // b, replace=True)


_register()
