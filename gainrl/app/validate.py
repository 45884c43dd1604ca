"""Checks of the configuration before anything is built: missing values, unknown keys, numbers out of range.

Other values out of range and settings that contradict each other are found by the constructors, all of which run before
a weight is loaded (`app.components`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gainrl.app.errors import ConfigError
from gainrl.app.nearest import did_you_mean
from gainrl.app.schema import META, groups, strangers, usual_target
from gainrl.app.signatures import NoSuchTarget

_LEAST = {
    "seed": 0,
    "schedule.steps": 1,
    "schedule.prompts_per_step": 1,
    "schedule.steps_per_epoch": 1,
    "schedule.refresh_every_epochs": 1,
    "algorithm.inner_epochs": 1,
    "algorithm.group_size": 0,  # `Algorithm` has the message for group sizes that are too small
    "algorithm.minibatch_prompts": 1,
    "algorithm.micro_batch_size": 1,
    "algorithm.micro_batch_tokens": 1,
    "rollout.max_new_tokens": 1,
    "evaluation.every": 1,
    "evaluation.samples": 0,
    "evaluation.limit": 1,
    "evaluation.seed": 0,
    "records.rollouts_every": 1,
    "data_limit": 1,
    # of the other commands
    "limit": 1,
    "resamples": 1,
    "evaluation.batch_problems": 1,
    "evaluation.resamples": 1,
    "prompt": 0,
    "problems": 1,
    "depths": 1,
}
_MAY_BE_NULL = (
    "schedule.refresh_every_epochs",
    "algorithm.minibatch_prompts",
    "algorithm.micro_batch_size",
    "evaluation.limit",
    "records.rollouts_every",
    "data_limit",
    "limit",
    "prompt",
)
_PRECISIONS = ("auto", "32-true", "bf16-mixed", "bf16-master")
_SCALED = "scales the loss: clipping and the test for numbers that are not finite would see scaled gradients"
_IMPRECISE = {
    "16-mixed": _SCALED,
    "16-true": "overflows and rounds updates away",
    "bf16-true": "rounds weights to 8 bits after every update, more than an update at usual learning rates moves them",
}
_EXAMPLES = {"reward.path": "my_rewards.py:score"}
_ABSENT = object()


def validate(config: DictConfig, primary: str = "config") -> None:
    """Raises ConfigError listing everything that is wrong, each with what to type instead.

    ``primary``: the file of ``conf`` that the configuration was composed from.
    """
    problems = [
        f"{path} has no value; type {path}={_EXAMPLES.get(path, '...')}"
        for path in sorted(OmegaConf.missing_keys(config))
        if "hydra" not in path
    ]
    if not problems:
        plain: Any = OmegaConf.to_container(config, resolve=True)
        problems.extend(_unread(plain, primary))
        problems.extend(_builds_nothing(plain, primary))
        problems.extend(_not_whole(config))
        problems.extend(_imprecise(config))
    if problems:
        raise ConfigError("\n".join(problems))


def _unread(plain: Mapping[str, Any], primary: str) -> list[str]:
    """Keys that nothing reads, each with the nearest one that something does."""
    problems = []
    try:
        for path, key, known in strangers(plain, primary):
            names = [name for name in known if name not in META]
            names += [name for name in groups(primary) if name not in names] if not path else []
            hint = did_you_mean(key, names, form=f"{path}.{{}}" if path else "{}")
            target = plain_target(plain, path)
            what = f"an option of {target}" if target else "a setting, and nothing reads it"
            problems.append(
                f"{path}.{key}".lstrip(".") + f" is not {what}" + (f"; {hint}" if names else ", which takes no options")
            )
    except NoSuchTarget as missing:
        problems.append(str(missing))
    return problems


def _builds_nothing(plain: Mapping[str, Any], primary: str) -> list[str]:
    """A user's options that lack a ``_target_`` in a group whose shipped options have one."""
    problems = []
    for group, package in groups(primary).items():
        node = plain.get(group) if package == group else None
        target = usual_target(group)
        if isinstance(node, Mapping) and node and target and "_target_" not in node:
            problems.append(
                f"{group} has no _target_, so nothing can be built from it ({', '.join(map(str, node))}); begin its "
                f"file with a line such as: _target_: {target}"
            )
    return problems


def plain_target(plain: Any, path: str) -> str | None:
    """The class or function that a node builds, without its module; None for a node that builds nothing."""
    node = plain
    for part in path.replace("[", ".").replace("]", "").split(".") if path else ():
        node = node[int(part)] if isinstance(node, list) else node[part]
    target = node.get("_target_") if isinstance(node, Mapping) else None
    return str(target).rsplit(".", 1)[-1] if target else None


def _not_whole(config: DictConfig) -> list[str]:
    problems = []
    for path, least in _LEAST.items():
        value = OmegaConf.select(config, path, default=_ABSENT)
        if value is _ABSENT or (value is None and path in _MAY_BE_NULL):
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            unless = ", or null" if path in _MAY_BE_NULL else ""
            near = max(least, round(value)) if isinstance(value, float) and value < 1e15 else least
            problems.append(f"{path}={value} must be a whole number, {least} or more{unless}; type {path}={near}")
    return problems


def _imprecise(config: DictConfig) -> list[str]:
    precision = OmegaConf.select(config, "trainer.precision", default=_ABSENT)
    if precision is _ABSENT or precision in _PRECISIONS:
        return []
    reason = _IMPRECISE.get(str(precision), "has not been tested")
    return [
        f"trainer.precision={precision} {reason}; type trainer.precision=bf16-mixed (weights and sums in float32, "
        "products in bfloat16), trainer.precision=bf16-master (all in bfloat16 but the weights that train), "
        "trainer.precision=32-true, or trainer.precision=auto for the faster of the first and the last"
    ]
