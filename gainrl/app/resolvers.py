"""Resolvers for the configuration, registered when this module is imported, so that worker processes have them too."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

from omegaconf import DictConfig, Node, OmegaConf

from gainrl.report.plan import arm_name


def sweep_name(file: str | None, mode: object, folder: str) -> str | None:
    """The name of a multirun: its sweep file, else its folder; None for a single run."""
    if file is not None:
        return file
    return PurePath(folder).name if str(mode).endswith("MULTIRUN") else None


def of_template(key: str, default: Any, _node_: Node, _root_: DictConfig) -> Any:
    """A setting of the prompt template that a reward judges: of its source's template where there is one each.

    The reward at ``reward.rewards.a`` judges the source ``a``.
    """
    template: Any = _root_.get("template") or {}
    if "templates" in template or "other" in template:
        source = re.search(r"\brewards\.(.+?)\.", str(_node_._get_full_key(None)))
        given = OmegaConf.select(_root_, "template.templates", throw_on_missing=False)
        one = given.get(source[1]) if source and isinstance(given, DictConfig) else None
        template = one or template.get("other") or {}
    value = template.get(key)
    return default if value is None else value


def _register() -> None:
    OmegaConf.register_new_resolver("of_template", of_template, replace=True)
    OmegaConf.register_new_resolver("arm_name", arm_name, replace=True)
    OmegaConf.register_new_resolver("path_name", lambda name: arm_name(str(name or "default")), replace=True)
    OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True)
    OmegaConf.register_new_resolver("mul", lambda a, b: a * b, replace=True)
    OmegaConf.register_new_resolver("floordiv", lambda a, b: a // b, replace=True)


_register()
