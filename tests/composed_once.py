"""Composing in a third of the time: what Hydra reads and merges before values are overridden is kept among tests.

Most of a composition depends only on the options that are chosen, and a thousand tests choose the same ones. Nothing
is kept of searches in other folders than `conf`: a test may write and change files there. Copies are made by pickle,
in a fifth of the time of `copy.deepcopy`.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hydra._internal import config_loader_impl as loader
from hydra._internal import defaults_list
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf, flag_override

from gainrl.app.paths import config_dir

Places = tuple[str, ...] | None


def places(repository: Any) -> Places:
    """Where a composition looks for files; None if it looks outside `conf`."""
    found = tuple(source.full_path() for source in repository.get_sources())
    ours = f"file://{config_dir()}"
    return found if all(place == ours or not place.startswith("file://") for place in found) else None


def read_once() -> Callable[..., Any]:
    plain, known = ConfigRepository.load_config, {}

    def read(self: Any, config_path: str) -> Any:
        where = places(self)
        if where is None:
            return plain(self, config_path)
        key = (where, config_path)
        if key not in known:
            known[key] = pickle.dumps(plain(self, config_path))
        return pickle.loads(known[key])

    return read


def choices_where_needed() -> Callable[..., Any]:
    """The choices that interpolated defaults need: a quarter of the time of a composition, and seldom wanted."""
    plain = defaults_list._create_interpolation_map

    def choices(overrides: Any, defaults: Any, self_added: bool) -> Any:
        needed = any(not default.is_self() and default.is_interpolation() for default in defaults)
        return plain(overrides, defaults, self_added) if needed else None

    return choices


def chosen_once() -> Callable[..., DefaultsList]:
    """The files of a composition follow from the overrides of groups; those of values only come with them."""
    plain, known = loader.create_defaults_list, {}

    def chosen(repo: Any, config_name: Any, overrides_list: Any, prepend_hydra: bool, skip_missing: bool) -> Any:
        where, given = places(repo), Overrides(repo=repo, overrides_list=overrides_list)
        groups = [override.input_line for override in overrides_list if override not in given.config_overrides]
        key = (where, config_name, tuple(groups), prepend_hydra, skip_missing)
        if where is None or key not in known:
            made = plain(repo, config_name, overrides_list, prepend_hydra, skip_missing)
            if where is None:
                return made
            known[key] = made
        made = known[key]
        return DefaultsList(
            defaults=[copy.copy(default) for default in made.defaults],
            defaults_tree=made.defaults_tree,
            config_overrides=given.config_overrides,
            overrides=copy.copy(made.overrides),
        )

    return chosen


def merged_once() -> Callable[..., Any]:
    """Begins with the longest start of the list that an earlier composition had: what follows is merged into it."""
    plain, known = loader.ConfigLoaderImpl._compose_config_from_defaults_list, {}

    def merged(self: Any, defaults: Any, repo: Any) -> Any:
        where = places(repo)
        if where is None:
            return plain(self, defaults, repo)
        keys = [(where, repr(defaults[:end])) for end in range(len(defaults) + 1)]
        begin = max((end for end, key in enumerate(keys) if key in known), default=0)
        config = pickle.loads(known[keys[begin]]) if begin else OmegaConf.create()
        try:
            for number, default in enumerate(defaults[begin:], start=begin + 1):
                with flag_override(config, "no_deepcopy_set_nodes", True):
                    config.merge_with(self._load_single_config(default=default, repo=repo).config)
                if number % 6 == 0 or number == len(defaults):
                    without_defaults(config)
                    known[keys[number]] = pickle.dumps(config)
        except Exception:
            return plain(self, defaults, repo)  # raises what Hydra raises
        return config

    return merged


def without_defaults(node: Any) -> None:
    """Removes the lists of defaults that files brought along, as Hydra does at the end."""
    if isinstance(node, DictConfig) and not node._is_missing() and not node._is_none():
        if node._get_flag("HYDRA_REMOVE_TOP_LEVEL_DEFAULTS"):
            with flag_override(node, ["readonly", "struct"], False):
                node._set_flag("HYDRA_REMOVE_TOP_LEVEL_DEFAULTS", None)
                node.pop("defaults", None)
        for _, value in node.items_ex(resolve=False):
            without_defaults(value)


@contextmanager
def composed_once() -> Iterator[None]:
    Plugins.instance()  # the scan for plugins runs modules again, and would undo the patch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigRepository, "load_config", read_once())
        patch.setattr(defaults_list, "_create_interpolation_map", choices_where_needed())
        patch.setattr(loader, "create_defaults_list", chosen_once())
        patch.setattr(loader.ConfigLoaderImpl, "_compose_config_from_defaults_list", merged_once())
        yield
