"""Configurations composed ahead of Hydra, to check what was typed before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.config_repository import IConfigRepository
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from gainrl.app.errors import ConfigError
from gainrl.app.paths import config_dir


class Composer:
    """Composes a primary configuration from the shipped files and the files in ``--config-dir``.

    ``extra`` is the folder of ``--config-dir``. Raises ConfigError if there is no such folder.
    """

    def __init__(self, primary: str, extra: str | None = None) -> None:
        path = create_automatic_config_search_path(None, None, str(config_dir()))
        self.extra = None if extra is None else Path(extra).expanduser().absolute()
        if self.extra is not None:
            if not self.extra.is_dir():
                raise ConfigError(f"--config-dir {extra}: there is no folder {self.extra}")
            path.prepend("command-line", f"file://{self.extra}", SearchPathQuery(provider="schema"))
        GlobalHydra.instance().clear()
        self.primary = primary
        self.hydra = Hydra.create_main_hydra2("gainrl", path)
        self.loader = self.hydra.config_loader
        self.repository: IConfigRepository = self.loader.repository  # type: ignore[attr-defined]

    def compose(self, overrides: Sequence[str], *, multirun: bool = False) -> DictConfig:
        """The configuration with Hydra's own node, as Hydra would compose it."""
        return self.hydra.compose_config(
            config_name=self.primary,
            overrides=list(overrides),
            run_mode=RunMode.MULTIRUN if multirun else RunMode.RUN,
            from_shell=False,
            validate_sweep_overrides=False,
            with_log_configuration=False,
        )

    def options(self, group: str) -> list[str]:
        """The options of a group; empty where there is no such group."""
        # The loader's own get_group_options copies all that it knows at every call, some fifty times a command.
        return self.repository.get_group_options(group.rstrip("/"), ObjectType.CONFIG)

    def is_group(self, name: str) -> bool:
        return bool(self.options(name))

    def where_options_are_looked_for(self, group: str, name: str) -> str:
        """Where a file for an option of one's own is expected, as the end of a message about one that is not there."""
        if self.extra is None:
            return f". For an option of your own, FOLDER/{group}/{name}.yaml, add --config-dir FOLDER"
        if (self.extra / f"{name}.yaml").exists():
            return f". {self.extra / name}.yaml is there: --config-dir takes the folder above, which holds {group}/"
        return f". There is no file {self.extra / group / name}.yaml"

    def without_package(self, option: str) -> Path | None:
        """The file of an option in ``--config-dir`` that sets other groups without `# @package _global_` in line 1."""
        path = None if self.extra is None else self.extra / f"{option}.yaml"
        if path is None or not path.is_file():
            return None
        return None if path.read_text(encoding="utf-8").startswith("# @package") else path


def has(config: DictConfig, path: str) -> bool:
    """Whether a path is there, with whatever value; below a node that is null, nothing is."""
    node: Any = config
    for part in parts(path):
        if isinstance(node, DictConfig):
            node = None if node._is_none() or node._is_missing() else node._get_node(part, validate_access=False)
        elif isinstance(node, ListConfig) and part.isdigit() and int(part) < len(node):
            node = node._get_node(int(part))
        else:
            return False
        if node is None:
            return False
    return True


def parts(path: str) -> list[str]:
    return path.replace("[", ".").replace("]", "").split(".")


def paths(config: DictConfig) -> Iterator[str]:
    """Every path of a configuration, nodes before what they hold."""

    def walk(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, DictConfig) and not (node._is_none() or node._is_missing() or node._is_interpolation()):
            for key in node:
                below = f"{path}.{key!s}" if path else str(key)
                yield below
                yield from walk(node._get_node(key), below)

    yield from walk(config, "")


@contextmanager
def mode_taken_from_settings() -> Iterator[None]:
    """Hydra composes the whole configuration once more, half a second, to read a mode that may have been typed."""
    composing = Hydra.get_mode

    def get_mode(self: Hydra, config_name: str | None, overrides: list[str]) -> Any:
        typed = [text.partition("=")[2] for text in overrides if text.startswith("hydra.mode=")]
        return RunMode[typed[-1]] if typed else composing(self, config_name, overrides)

    Hydra.get_mode = get_mode  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = composing  # type: ignore[method-assign]


@contextmanager
def resolvable(config: DictConfig) -> Iterator[None]:
    """Lets ``${hydra:...}`` be resolved for a composed configuration, as in a job."""
    before = HydraConfig.instance().cfg
    OmegaConf.set_readonly(config.hydra, False)
    HydraConfig.instance().cfg = config  # type: ignore[assignment]  # set_config would refuse the missing help
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before
