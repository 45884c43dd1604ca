"""Parameters of a function or class from its source, without importing it.

Importing what a configuration names takes ten seconds (torch, transformers, datasets); reading its source takes a
millisecond, so a mistyped option is refused at once. What the source does not show (a class built by a decorator, a
star import, a compiled module) is imported after all.
"""

from __future__ import annotations

import ast
import importlib.machinery
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Optional, Union

VARIES = "**"  # a parameter that stands for any keyword

Parameters = dict[str, ast.expr | None]  # name to annotation, as the source has it


class Tensor:
    """Stands for torch's in annotations; nothing on a command line is one."""


_TYPES = (int, float, bool, str, list, tuple, dict, Sequence, Mapping, Tensor)
_PLAIN: dict[str, Any] = {one.__name__: one for one in _TYPES}
_PLAIN |= {"Any": Any, "Literal": Literal, "Optional": Optional, "Union": Union}


class Unreadable(Exception):
    """The source does not show it; the target must be imported."""


class NoSuchTarget(Exception):
    """There is no such module or name; the text says which."""


@cache
def parameters(target: str) -> Parameters:
    """Keyword parameters of ``package.module.name`` with their annotations, `VARIES` among them if it takes any.

    Raises NoSuchTarget if the module or the name in it does not exist, Unreadable if the source does not tell.
    """
    module, _, name = target.rpartition(".")
    if not module:
        raise NoSuchTarget(f"{target!r} is not the path of anything that can be imported")
    return _of_name(module, name, depth=0)


@cache
def plain_types(target: str) -> dict[str, Any]:
    """The annotated types of a target's parameters, as far as its source alone tells them; empty if it does not."""
    try:
        found = parameters(target)
    except (Unreadable, NoSuchTarget):
        return {}
    types = {}
    for name, annotation in found.items():
        try:
            if annotation is not None:
                types[name] = eval(compile(ast.Expression(annotation), target, "eval"), {"__builtins__": {}}, _PLAIN)
        except Exception:  # a name of its module, whose meaning would have to be imported
            continue
    return types


def _of_name(module: str, name: str, depth: int) -> Parameters:
    if depth > 8:
        raise Unreadable
    path = source_file(module)
    node = _definitions(path).get(name)
    if isinstance(node, ast.ImportFrom):
        return _of_name(*_imported(node, module, path, name), depth=depth + 1)
    if isinstance(node, ast.FunctionDef):
        return _arguments(node.args)
    if isinstance(node, ast.ClassDef):
        return _of_class(node, module, depth)
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
        return _of_result(node.value.func.id, module, path, depth)
    if node is not None or _definitions(path).get("*") is not None:
        raise Unreadable
    if _is_module(f"{module}.{name}") or path.suffix != ".py":
        raise Unreadable
    raise NoSuchTarget(f"{module} has no {name!r}")


def _of_result(function: str, module: str, path: Path, depth: int) -> Parameters:
    """Of what a function returns, where its annotation is a class with ``__call__``."""
    node = _definitions(path).get(function)
    if isinstance(node, ast.ImportFrom):
        module, function = _imported(node, module, path, function)
        path = source_file(module)
        node = _definitions(path).get(function)
    if not isinstance(node, ast.FunctionDef) or not isinstance(node.returns, ast.Name) or depth > 8:
        raise Unreadable
    returned = _definitions(path).get(node.returns.id)
    for item in returned.body if isinstance(returned, ast.ClassDef) else []:
        if isinstance(item, ast.FunctionDef) and item.name == "__call__":
            return _without_self(_arguments(item.args))
    raise Unreadable


def _of_class(node: ast.ClassDef, module: str, depth: int) -> Parameters:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name in ("__init__", "__new__"):
            return _without_self(_arguments(item.args))
    bases: Parameters = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id not in ("object", "Protocol"):
            bases = bases | {**_of_name(module, base.id, depth + 1), **bases}
        elif not (isinstance(base, (ast.Name, ast.Subscript))):
            raise Unreadable
    if not any("dataclass" in ast.dump(decorator) for decorator in node.decorator_list):
        if node.decorator_list or node.keywords:
            raise Unreadable
        return bases
    own: Parameters = {
        item.target.id: item.annotation
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and "ClassVar" not in ast.dump(item.annotation)
        and not _left_out(item.value)
    }
    return {**bases, **own}


def _left_out(default: ast.expr | None) -> bool:
    """``field(init=False)``"""
    return isinstance(default, ast.Call) and any(
        keyword.arg == "init" and isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        for keyword in default.keywords
    )


def _arguments(given: ast.arguments) -> Parameters:
    found: Parameters = {argument.arg: argument.annotation for argument in (*given.args, *given.kwonlyargs)}
    return {**found, VARIES: None} if given.kwarg is not None else found


def _without_self(found: Parameters) -> Parameters:
    return {name: annotation for name, annotation in found.items() if name not in ("self", "cls")}


def _imported(node: ast.ImportFrom, module: str, path: Path, name: str) -> tuple[str, str]:
    original = next(alias.name for alias in node.names if (alias.asname or alias.name) == name)
    if not node.level:
        return str(node.module), original
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return (f"{package}.{node.module}" if node.module else package), original


@cache
def _definitions(path: Path) -> dict[str, ast.stmt]:
    """What a module defines at its top level, by name; ``*`` for a star import."""
    if path.suffix != ".py":
        raise Unreadable
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as fault:
        raise NoSuchTarget(f"{path}, line {fault.lineno}: {fault.msg}") from fault
    found: dict[str, ast.stmt] = {}
    for node in _top_level(tree.body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.ImportFrom):
            found |= dict.fromkeys((alias.asname or alias.name for alias in node.names), node)
        elif isinstance(node, ast.Assign):
            found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
    return found


def _top_level(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements of a module, with those under ``if`` and ``try``."""
    found: list[ast.stmt] = []
    for node in body:
        found.append(node)
        if isinstance(node, ast.If | ast.Try):
            found += _top_level([*node.body, *node.orelse])
    return found


def _is_module(name: str) -> bool:
    try:
        source_file(name)
    except NoSuchTarget:
        return False
    return True


@cache
def source_file(module: str) -> Path:
    """The file of a module, found along the path without importing its packages. Raises NoSuchTarget."""
    places: list[str] | None = None
    known = ""
    origin: str | None = None
    for part in module.split("."):
        loaded = sys.modules.get(f"{known}.{part}".lstrip("."))
        if loaded is not None and getattr(loaded, "__path__", None) is not None:
            places, origin = list(loaded.__path__), getattr(loaded, "__file__", None)
        else:
            spec = importlib.machinery.PathFinder.find_spec(part, places)
            if spec is None:
                if not known and part in sys.builtin_module_names:
                    raise Unreadable
                raise NoSuchTarget(f"there is no module {f'{known}.{part}'.lstrip('.')!r}")
            places, origin = list(spec.submodule_search_locations or []), spec.origin
        known = f"{known}.{part}".lstrip(".")
    if origin is None:
        raise Unreadable
    return Path(origin)
