"""Checks of the configuration before anything is built: missing values, unknown keys, numbers that are none.

Other values out of range and settings that contradict each other are found by the constructors, all of which run before
a weight is loaded (`app.components`).
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from gainrl.app.errors import ConfigError

_LEAST = {
    "seed": 0,
    "schedule.steps": 1,
    "schedule.prompts_per_step": 1,
    "schedule.steps_per_epoch": 1,
    "schedule.refresh_every_epochs": 1,
    "algorithm.inner_epochs": 1,
    "algorithm.group_size": 0,  # what is too small for a group, `check_batches` explains
    "algorithm.minibatch_prompts": 1,
    "algorithm.micro_batch_size": 1,
    "algorithm.micro_batch_tokens": 1,
    "rollout.max_new_tokens": 1,
    "evaluation.every": 1,
    "evaluation.samples": 0,
    "evaluation.limit": 1,
    "evaluation.seed": 0,
    "records.rollouts_every": 1,
}
_MAY_BE_NULL = (
    "schedule.refresh_every_epochs",
    "algorithm.minibatch_prompts",
    "algorithm.micro_batch_size",
    "evaluation.limit",
    "records.rollouts_every",
)
_PRECISIONS = ("auto", "32-true", "bf16-mixed")
_SCALED = "scales the loss: clipping and the test for numbers that are not finite would see scaled gradients"
_IMPRECISE = {
    "16-mixed": _SCALED,
    "16-true": "overflows and rounds updates away",
    "bf16-true": "rounds weights to 8 bits after every update, more than an update at usual learning rates moves them",
}
_ABSENT = object()
_META = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}


def validate(config: DictConfig) -> None:
    """Raises ConfigError listing everything that is wrong, each with what to type instead."""
    problems = [
        f"{path} has no value; type {path}=..."
        for path in sorted(OmegaConf.missing_keys(config))
        if "hydra" not in path
    ]
    if not problems:
        plain = OmegaConf.to_container(config, resolve=True)
        for path, node in _targets(plain):
            problems.extend(_unaccepted(path, node))
        problems.extend(_not_whole(config))
        problems.extend(_imprecise(config))
    if problems:
        raise ConfigError("\n".join(problems))


def _targets(node: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield path, node
        for key, child in node.items():
            yield from _targets(child, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _targets(child, f"{path}[{index}]")


def _unaccepted(path: str, node: Mapping[str, Any]) -> list[str]:
    """Keys of a node that its target does not take."""
    target = str(node["_target_"])
    try:
        parameters = inspect.signature(get_method(target)).parameters
    except Exception as fault:
        return [f"{path}._target_={target} cannot be imported: {_last_line(fault)}"]
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return []
    problems = []
    for key in node:
        if key in _META or key in parameters:
            continue
        near = difflib.get_close_matches(str(key), parameters, n=1)
        hint = f"did you mean {path}.{near[0]}?" if near else f"it takes {', '.join(parameters) or 'no options'}"
        problems.append(f"{path}.{key} is not an option of {target.rsplit('.', 1)[-1]}; {hint}")
    return problems


def _not_whole(config: DictConfig) -> list[str]:
    problems = []
    for path, least in _LEAST.items():
        value = OmegaConf.select(config, path, default=_ABSENT)
        if value is _ABSENT or (value is None and path in _MAY_BE_NULL):
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            unless = ", or null" if path in _MAY_BE_NULL else ""
            problems.append(f"{path}={value} must be a whole number, {least} or more{unless}; type {path}={least}")
    return problems


def _imprecise(config: DictConfig) -> list[str]:
    precision = OmegaConf.select(config, "trainer.precision", default=_ABSENT)
    if precision is _ABSENT or precision in _PRECISIONS:
        return []
    reason = _IMPRECISE.get(str(precision), "was never tried")
    return [
        f"trainer.precision={precision} {reason}; type trainer.precision=bf16-mixed (weights and sums in float32, "
        "products in bfloat16), trainer.precision=32-true, or trainer.precision=auto for the faster of the two"
    ]


def _last_line(fault: BaseException) -> str:
    cause = fault
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return (str(cause).strip().splitlines() or [type(cause).__name__])[-1]
