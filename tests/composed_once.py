"""Composing in a third of the time: what Hydra reads and merges before values are overridden is kept among tests.

Most of a composition depends only on the options that are chosen, and a thousand tests choose the same ones. Copies
are made by pickle, in a fifth of the time of `copy.deepcopy`.
"""

from __future__ import annotations

import copy
import hashlib
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hydra._internal import config_loader_impl as loader
from hydra._internal import defaults_list
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf, flag_override

from gainrl.app.paths import config_dir

OURS = f"file://{config_dir()}"


class Kept:
    """Results of Hydra's steps by all that decides them: the chosen options, and what the folders hold."""

    def __init__(self) -> None:
        self.plain_read = ConfigRepository.load_config
        self.plain_choose = loader.create_defaults_list
        self.plain_merge = loader.ConfigLoaderImpl._compose_config_from_defaults_list
        self.repository: Any = None
        self.folders: tuple[tuple[str, str], ...] = ()
        self.files: dict[Any, bytes] = {}
        self.lists: dict[Any, DefaultsList] = {}
        self.merged: dict[Any, bytes] = {}

    def look_at(self, repository: Any) -> None:
        """Which folders this composition reads. Tests write and change files, but none of `conf`."""
        self.repository = getattr(repository, "delegate", repository)
        found = [source.full_path() for source in repository.get_sources()]
        self.folders = tuple((place, "" if place == OURS else stamp(place)) for place in found)

    def read(self, repository: Any, config_path: str) -> Any:
        if repository is not self.repository:
            self.look_at(repository)
        key = (self.folders, config_path)
        if key not in self.files:
            self.files[key] = pickle.dumps(self.plain_read(repository, config_path))
        return pickle.loads(self.files[key])

    def choose(self, repo: Any, config_name: Any, overrides_list: Any, prepend_hydra: bool, skip_missing: bool) -> Any:
        """The files of a composition follow from the overrides of groups; those of values only come with them."""
        self.look_at(repo)
        given = Overrides(repo=repo, overrides_list=overrides_list)
        groups = [override.input_line for override in overrides_list if override not in given.config_overrides]
        key = (self.folders, config_name, tuple(groups), prepend_hydra, skip_missing)
        if key not in self.lists:
            self.lists[key] = self.plain_choose(repo, config_name, overrides_list, prepend_hydra, skip_missing)
        made = self.lists[key]
        return DefaultsList(
            defaults=[copy.copy(default) for default in made.defaults],
            defaults_tree=made.defaults_tree,
            config_overrides=given.config_overrides,
            overrides=copy.copy(made.overrides),
        )

    def merge(self, config_loader: Any, defaults: Any, repo: Any) -> Any:
        """Begins with the longest start of the list that an earlier composition had."""
        keys = [(self.folders, repr(defaults[:end])) for end in range(len(defaults) + 1)]
        begin = max((end for end, key in enumerate(keys) if key in self.merged), default=0)
        config = pickle.loads(self.merged[keys[begin]]) if begin else OmegaConf.create()
        try:
            for number, default in enumerate(defaults[begin:], start=begin + 1):
                with flag_override(config, "no_deepcopy_set_nodes", True):
                    config.merge_with(config_loader._load_single_config(default=default, repo=repo).config)
                if number % 6 == 0 or number == len(defaults):
                    without_defaults(config)
                    self.merged[keys[number]] = pickle.dumps(config)
        except Exception:
            return self.plain_merge(config_loader, defaults, repo)  # raises what Hydra raises
        return config


def stamp(place: str) -> str:
    found = hashlib.blake2b()
    if place.startswith("file://"):
        for path in sorted(Path(place.removeprefix("file://")).rglob("*.yaml")):
            found.update(f"{path}\n".encode() + path.read_bytes())
    return found.hexdigest()


def without_defaults(node: Any) -> None:
    """Removes the lists of defaults that files brought along, as Hydra does at the end."""
    if isinstance(node, DictConfig) and not node._is_missing() and not node._is_none():
        if node._get_flag("HYDRA_REMOVE_TOP_LEVEL_DEFAULTS"):
            with flag_override(node, ["readonly", "struct"], False):
                node._set_flag("HYDRA_REMOVE_TOP_LEVEL_DEFAULTS", None)
                node.pop("defaults", None)
        for _, value in node.items_ex(resolve=False):
            without_defaults(value)


def choices_where_needed() -> Callable[..., Any]:
    """The choices that interpolated defaults need: a quarter of the time of a composition, and seldom wanted."""
    plain = defaults_list._create_interpolation_map

    def choices(overrides: Any, defaults: Any, self_added: bool) -> Any:
        needed = any(not default.is_self() and default.is_interpolation() for default in defaults)
        return plain(overrides, defaults, self_added) if needed else None

    return choices


@contextmanager
def composed_once() -> Iterator[None]:
    Plugins.instance()  # the scan for plugins runs modules again, and would undo the patch
    kept = Kept()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ConfigRepository, "load_config", lambda repository, config_path: kept.read(repository, config_path)
        )
        patch.setattr(defaults_list, "_create_interpolation_map", choices_where_needed())
        patch.setattr(loader, "create_defaults_list", kept.choose)
        patch.setattr(
            loader.ConfigLoaderImpl,
            "_compose_config_from_defaults_list",
            lambda config_loader, defaults, repo: kept.merge(config_loader, defaults, repo),
        )
        yield
