"""The keys that a configuration may have: those of the shipped files, and the parameters of constructors.

A node with a ``_target_`` takes the parameters of its constructor. Any other node takes the keys that the primary
configuration or an option of its group names there. Nodes whose keys are names of the user's choice take any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gainrl.app.paths import config_dir
from gainrl.app.signatures import VARIES, NoSuchTarget, Unreadable, parameters

META = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}
_NAMED_BY_USERS = {"callbacks", "others", "eval.sets", "eval.rewards", "identity_excludes"}
_ADDED = {"trained"}  # by gainrl-evaluate, for the run that it reads
_loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Tree = dict[str, Any]  # key to the tree below it; an empty tree takes any keys


@cache
def known_keys(primary: str = "config") -> Tree:
    """The keys that ``conf/<primary>.yaml`` and the options of its groups name, as nested mappings."""
    content = read_yaml(config_dir() / f"{primary}.yaml")
    tree: Tree = {}
    for group, package in groups(primary).items():
        if package is None:
            continue
        for path in sorted((config_dir() / group).glob("**/*.yaml")):
            option = read_yaml(path)
            below: Tree = {entry: {} for entry in _packages(option.pop("defaults", []))}
            _merge(tree, _nested(package, {**option, **below}))
    content.pop("hydra", None)
    for node in _packages(content.pop("defaults")):
        _merge(tree, _nested(node, {}))
    _merge(tree, content)
    return tree | {name: {} for name in _ADDED}


@cache
def groups(primary: str = "config") -> dict[str, str | None]:
    """The groups of a primary configuration, with the node that their options fill; None for all of it."""
    found: dict[str, str | None] = {}
    for entry in read_yaml(config_dir() / f"{primary}.yaml")["defaults"]:
        key = next(iter(entry)) if isinstance(entry, Mapping) else entry
        words = str(key).split()  # ``override`` or ``optional`` may stand before the group
        if words[0] == "override" or "@" in words[-1] or words[-1] == "_self_":
            continue
        found[words[-1]] = _package_of(words[-1])
    return found


def _package_of(group: str) -> str | None:
    """From the header of the group's first file, by default the group itself."""
    for path in sorted((config_dir() / group).glob("*.yaml")):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        if first.startswith("# @package"):
            package = first.split()[-1]
            return None if package == "_global_" else package
        return group
    return group


@cache
def usual_target(group: str) -> str | None:
    """What most options of a group build; None for a group whose options need not build anything."""
    files = [read_yaml(path) for path in sorted((config_dir() / group).glob("*.yaml"))]
    targets = [str(content["_target_"]) for content in files if "_target_" in content]
    alone = [content for content in files if "_target_" not in content and "defaults" not in content]
    return max(targets, key=targets.count) if targets and not alone else None


def strangers(plain: Mapping[str, Any], primary: str = "config") -> Iterator[tuple[str, str, list[str]]]:
    """Keys that nothing reads: path of the node (empty for the root), key, and the keys that the node takes.

    Raises NoSuchTarget, with the node's path before the reason, for a ``_target_`` that cannot be imported.
    """
    yield from _strangers(plain, "", known_keys(primary))


def _strangers(node: Any, path: str, tree: Tree) -> Iterator[tuple[str, str, list[str]]]:
    if isinstance(node, list):
        for index, child in enumerate(node):
            yield from _strangers(child, f"{path}[{index}]", {})
        return
    if not isinstance(node, Mapping):
        return
    known = options_of(node, path, tree)
    below = {} if "_target_" in node else tree  # a constructor checks its own arguments
    for key, child in node.items():
        if known is not None and str(key) not in known:
            yield path, str(key), known
        else:
            yield from _strangers(child, f"{path}.{key}" if path else str(key), below.get(str(key)) or {})


def options_of(node: Mapping[str, Any], path: str, tree: Tree) -> list[str] | None:
    """The keys that a node takes; None if it takes any. Raises NoSuchTarget."""
    if "_target_" in node:
        try:
            found = target_options(str(node["_target_"]))
        except NoSuchTarget as missing:
            raise NoSuchTarget(f"{path}._target_={node['_target_']} cannot be imported: {missing}") from missing
        return None if found is None else [*found, *META]
    if path in _NAMED_BY_USERS or not tree:
        return None
    return list(tree)


@cache
def target_options(target: str) -> list[str] | None:
    """The keyword parameters of a target; None if it takes any. Raises NoSuchTarget."""
    try:
        found = tuple(parameters(target))
    except Unreadable:
        found = _imported_parameters(target)
    return None if VARIES in found else [name for name in found if not name.startswith("*")]


def _imported_parameters(target: str) -> tuple[str, ...]:
    import inspect

    from hydra.utils import get_method

    try:
        signature = inspect.signature(get_method(target))
    except ValueError:  # a builtin without a signature
        return (VARIES,)
    except Exception as fault:
        cause: BaseException = fault
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise NoSuchTarget((str(cause).strip().splitlines() or [type(cause).__name__])[-1]) from fault
    return tuple(VARIES if one.kind is one.VAR_KEYWORD else name for name, one in signature.parameters.items())


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def read_yaml(path: Path) -> dict[str, Any]:
    """A file of the configuration; empty for an empty one."""
    content = yaml.load(_text(path), Loader=_loader)
    return dict(content) if isinstance(content, Mapping) else {}


def _packages(defaults: list[Any]) -> Iterator[str]:
    """Nodes that a defaults list fills through ``group@node``."""
    for entry in defaults:
        key = str(next(iter(entry)) if isinstance(entry, Mapping) else entry)
        package = key.partition("@")[2]
        if package and not package.startswith("_"):
            yield package


def _nested(path: str, content: Any) -> Tree:
    for part in reversed(path.split(".")):
        content = {part: content}
    return dict(content)


def _merge(tree: Tree, content: Mapping[Any, Any]) -> None:
    for key, value in content.items():
        below = tree.setdefault(str(key), {})
        if isinstance(value, Mapping):
            _merge(below, value)
