"""Refuses values of another type than a setting takes, before anything is built from them.

The constructor is the schema: what a node with a ``_target_`` takes is read from the annotations of its parameters.
Settings that no constructor takes are listed here.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from gainrl.app.errors import ConfigError
from gainrl.app.signatures import plain_types

_PLAIN: dict[str, Any] = {
    "evaluation.temperature": float,
    "checkpoint.every_steps": int | None,
    "checkpoint.every_minutes": float | None,
    "checkpoint.keep": int,
    "checkpoint.monitor": str | None,
    "checkpoint.mode": str,
    "data_dir": str | None,
    "resume": str | None,
    "faults.nonfinite_limit": int,
    "faults.reward_failure_rate": float,
    "trainer.num_nodes": int,
    "trainer.timeout_minutes": float,
    "trainer.compile": bool,
    "trainer.liger": bool,
    "trainer.threads": int | str,
    "rollout.temperature": float,
    "rollout.top_p": float,
    "rollout.top_k": int,
    "records.traceback": bool,
    "retry_failed": bool,
    "profile": bool,
    "eval.held_out": bool,
}
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null"}
_LISTS = (list, tuple, Sequence)
_MAPPINGS = (dict, Mapping)
_ABSENT = object()


def check_value_types(config: DictConfig, *, imports: bool = True) -> None:
    """Raises ConfigError that lists every value of another type, each with what to type instead.

    Without ``imports`` only annotations that the source alone explains are compared.
    """
    plain = OmegaConf.to_container(config, resolve=True)
    problems = [problem for problem in mistyped(plain, "", imports=imports) if not _refers(config, problem)]
    for path, wanted in _PLAIN.items():
        value = OmegaConf.select(config, path, default=_ABSENT)
        if value is not _ABSENT and not fits(value, wanted):
            problem = _problem(path, value, wanted)
            problems += [] if _refers(config, problem) else [problem]
    if problems:
        raise ConfigError("\n".join(problems))


def _refers(config: DictConfig, problem: str) -> bool:
    """Whether the value comes from another setting, which is the one to name."""
    path = problem.partition("=")[0]
    node = OmegaConf.select(config, path.rpartition(".")[0]) if "." in path and "[" not in path else None
    return isinstance(node, DictConfig) and OmegaConf.is_interpolation(node, path.rpartition(".")[2])


def fits(value: Any, wanted: Any) -> bool:
    """Whether a value of a configuration is of an annotated type; True where the annotation leaves it open."""
    origin = get_origin(wanted)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in get_args(wanted))
    if wanted is bool or wanted is type(None):
        return isinstance(value, wanted)
    if wanted is int or wanted is float:
        return isinstance(value, (int,) if wanted is int else (int, float)) and not isinstance(value, bool)
    if wanted is str:
        return isinstance(value, str)
    if getattr(wanted, "__name__", "") == "Tensor":  # as in the annotation of an optimizer's rate
        return False
    if origin is Literal:  # the constructor has the message with the words
        return not isinstance(value, (list, dict))
    if _is(wanted, origin, _LISTS):
        items = get_args(wanted)[:1] if origin is not tuple else ()
        return isinstance(value, (list, tuple)) and all(fits(item, one) for item in value for one in items)
    if _is(wanted, origin, _MAPPINGS):
        return isinstance(value, Mapping)
    return True


def _is(wanted: Any, origin: Any, kinds: tuple[Any, ...]) -> bool:
    return wanted in kinds or origin in kinds


def mistyped(node: Any, path: str, *, imports: bool = True) -> Iterator[str]:
    """Faults in the values of a node and below it that constructors take; ``path``: the node's."""
    if isinstance(node, list):
        for place, child in enumerate(node):
            yield from mistyped(child, f"{path}[{place}]", imports=imports)
    if not isinstance(node, Mapping):
        return
    target = str(node.get("_target_", ""))
    hints = {} if not target else _hints(target) if imports else plain_types(target)
    for key, value in node.items():
        below = f"{path}.{key}" if path else str(key)
        if key in hints and not (isinstance(value, Mapping) and "_target_" in value) and not fits(value, hints[key]):
            yield _problem(below, value, hints[key])
        yield from mistyped(value, below, imports=imports)


def _hints(target: str) -> dict[str, Any]:
    """The annotated types of a target's parameters; empty where they cannot be read."""
    try:
        found = get_method(target)
        return get_type_hints(found.__init__ if inspect.isclass(found) else found)
    except Exception:  # names that exist for type checkers only, or an import that fails: building it will say so
        return {}


def _problem(path: str, value: Any, wanted: Any) -> str:
    return f"{path}={_shown(value)} must be {described(wanted)}"


def described(wanted: Any) -> str:
    """An annotated type, in words."""
    origin = get_origin(wanted)
    if origin in (Union, types.UnionType):
        names = dict.fromkeys(described(one) for one in get_args(wanted))
        return " or ".join(
            name for name in names if name != "Tensor" and not (name == _WORDS[int] and float in get_args(wanted))
        )
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(wanted)))}"
    if _is(wanted, origin, _LISTS):
        return "a list"
    if _is(wanted, origin, _MAPPINGS):
        return "named values"
    return _WORDS.get(wanted, getattr(wanted, "__name__", str(wanted)))


def _shown(value: Any) -> str:
    text = str(OmegaConf.to_container(value) if OmegaConf.is_config(value) else value)
    return text if len(text) <= 60 else f"{text[:60]}..."
