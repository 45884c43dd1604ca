"""Something reads every key that was typed: unknown groups, options and settings are refused with the nearest.

A ``+`` is never needed and never decides anything: what the configuration has is set, what a constructor takes beyond
that is added, and anything else is refused, with or without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from gainrl.app.commandline.composing import Composer, has, parts, paths
from gainrl.app.commandline.hints import ALSO_CALLED, EPOCHS, meant_option
from gainrl.app.commandline.settings import Setting
from gainrl.app.errors import ConfigError
from gainrl.app.nearest import did_you_mean, nearest
from gainrl.app.paths import config_dir
from gainrl.app.schema import Tree, groups, known_keys, options_of, read_yaml
from gainrl.app.signatures import NoSuchTarget

_ABSENT = object()
_COMBINATIONS = 100  # of swept options, for which settings are checked ahead; jobs beyond them check themselves
# Whatever the groups, these nodes have the same keys.
_OPEN = ("hydra.job.env_set.", "hydra.sweeper.params.", "hydra.callbacks.", "hydra.job_logging.",
         "hydra.hydra_logging.", "hydra.launcher.additional_parameters.", "hydra.launcher.params.",
         "hydra.launcher.ray.")  # fmt: skip
_FIXED = {"seed", "schedule", "evaluation", "records", "checkpoint", "faults", "resume", "retry_failed", "data_dir",
          "profile", "trainer", "logger", "hydra", "run"}  # fmt: skip


def check_keys(settings: Sequence[Setting], composer: Composer, command: str) -> tuple[list[Setting], DictConfig]:
    """The settings with the signs that Hydra wants, and a configuration with the groups that they choose.

    Raises ConfigError with one line per setting that nothing reads.
    """
    chosen = [one for one in settings if _names_a_group(one, composer)]
    others = [one for one in settings if one not in chosen]
    problems = [problem for one in chosen for problem in _wrong_options(one, composer, command)]
    unknown = [one for one in others if "/" in one.key or "@" in one.key]
    problems += [_no_such_group(one, composer) for one in unknown]
    if problems:
        raise ConfigError("\n".join(problems))
    combinations = list(product(*(one.choices if one.sweeps else (one.value,) for one in chosen)))
    signed, first = _compose(chosen, combinations[0] if combinations else (), composer)
    configs = [first]
    if any(parts(one.key)[0] not in _FIXED for one in others):
        configs += [_compose(signed, values, composer)[1] for values in combinations[1:_COMBINATIONS]]
    known = known_keys(composer.primary)
    jobs = [_job_text(chosen, values) for values in combinations]
    checked = {one: _signed(one, configs, jobs, known, composer.primary) for one in others}
    problems = [text for text in checked.values() if isinstance(text, str)]
    if problems:
        raise ConfigError("\n".join(problems))
    # What a sweep's own file sets is replaced under its own name, although a group may not be there without the file.
    swept = set(OmegaConf.select(first, "hydra.sweeper.params", default=None) or ())
    signed = [replace(one, sign="") if one.key in swept and one.sign == "+" else one for one in signed]
    signs = dict(zip(chosen, signed, strict=True)) | checked
    return [signs[one] for one in settings], first  # type: ignore[misc]


def _names_a_group(setting: Setting, composer: Composer) -> bool:
    return composer.is_group(setting.key.partition("@")[0])


def _wrong_options(setting: Setting, composer: Composer, command: str) -> list[str]:
    group, _, package = setting.key.partition("@")
    taken = groups(composer.primary)
    if not package and group not in taken and not group.startswith("hydra/"):
        return [f"{setting.typed}: {command} does not take {group}; it takes {', '.join(taken)}"]
    if group == "sweep" and setting.sweeps:
        first = setting.choices[0]
        return [
            f"{setting.typed} would start plain jobs that ignore the sweeps' settings. Run one sweep after the other: "
            f"{command} sweep={first}"
        ]
    if setting.value is None or "glob(" in setting.value:
        return []
    known = composer.options(group)
    problems = []
    for name in (name for choice in setting.choices for name in _option_names(choice)):
        if name in known or "${" in name:
            continue
        hint = meant_option(group, name, known) or did_you_mean(name, known, form=group + "={}")
        if hint.startswith("there are ") and name != "null":
            hint += composer.where_options_are_looked_for(group, name)
        problems.append(f"{setting.typed}: {group} has no option {name!r}; {hint}")
    return problems


def _option_names(choice: str) -> list[str]:
    """``[default,early_stopping]`` names two options of a group."""
    if choice.startswith("[") and choice.endswith("]"):
        return [name.strip("'\" ") for name in choice[1:-1].split(",") if name.strip()]
    return [choice.strip("'\"")]


def _no_such_group(setting: Setting, composer: Composer) -> str:
    name = setting.key.partition("@")[0]
    return f"{setting.typed}: there is no group {name!r}; {did_you_mean(name, groups(composer.primary))}"


def _compose(
    chosen: Sequence[Setting], values: Sequence[str | None], composer: Composer
) -> tuple[list[Setting], DictConfig]:
    """With one value for each group. Groups that the files name are set, others added, whatever was typed."""
    declared = groups(composer.primary)
    plain = [replace(one, sign="" if one.sign in ("+", "++") else one.sign) for one in chosen]
    added = [one if one.key in declared or one.sign == "~" else replace(one, sign="+") for one in plain]
    fault: HydraException | None = None
    for signed in (plain, added) if added != plain else (plain,):
        texts = [
            one.text(value=value) if value is not None else one.text()
            for one, value in zip(signed, values, strict=True)
        ]
        try:
            return signed, composer.compose(texts)
        except HydraException as found:
            fault = found
    assert fault is not None
    raise fault


def _job_text(chosen: Sequence[Setting], values: Sequence[str | None]) -> str:
    """How to say which of several jobs is meant; empty where nothing is swept."""
    swept = [f"{one.key}={value}" for one, value in zip(chosen, values, strict=True) if one.sweeps]
    return f" (the job with {' '.join(swept)})" if swept else ""


def _signed(
    setting: Setting, configs: Sequence[DictConfig], jobs: Sequence[str], known: Tree, primary: str
) -> Setting | str:
    """The setting with the sign that Hydra wants, or why it is refused."""
    there = [has(config, setting.key) for config in configs]
    if setting.sign == "~":
        return setting if any(there) else _unknown(setting, configs[0], known, primary)
    if all(there):
        return replace(setting, sign="")
    for config, found, job in zip(configs, there, jobs, strict=False):
        if not found and not takes(config, setting.key, known):
            return _unknown(setting, config, known, primary) + job
    return replace(setting, sign="++")


def takes(config: DictConfig, path: str, known: Tree) -> bool:
    """Whether something reads a path that the configuration does not have."""
    if path.startswith("hydra."):
        return path.startswith(_OPEN)
    node: object = config
    below: Tree | None = known
    walked: list[str] = []
    for part in parts(path):
        plain = node if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing() else None
        if plain is not None:
            content: Any = OmegaConf.to_container(plain, resolve=False)
            try:
                options = options_of(content, ".".join(walked), below or {})
            except NoSuchTarget:
                return True  # which is refused with its own message
            if options is not None and part not in options:
                return False
            node = plain._get_node(part, validate_access=False)
            below = (below or {}).get(part) if "_target_" not in content else {}
        else:
            if below and part not in below:
                return False
            below = (below or {}).get(part)
            node = None
        walked.append(part)
    return True


def _unknown(setting: Setting, config: DictConfig, known: Tree, primary: str) -> str:
    """Why a setting is refused, with the nearest one, or the option of its group that has it."""
    form = "{}" if setting.value is None else "{}=" + setting.value.replace("{", "{{").replace("}", "}}")
    group = parts(setting.key)[0]
    choice = config.hydra.runtime.choices.get(group) if "." in setting.key else None
    problem = f"{setting.typed}: there is no {setting.key}" + (f" with {group}={choice}" if choice else "")
    beside = _siblings(setting.key, config, known)
    leaves = [path for path in paths(config) if path.startswith("hydra.") == setting.key.startswith("hydra.")]
    leaves = [path for path in leaves if not setting.key.startswith(f"{path}.")]
    last = parts(setting.key)[-1]
    if last in EPOCHS and "schedule" in config:
        return (
            f"{problem}; the length of a run is counted in steps, {config.schedule.steps_per_epoch} to an epoch "
            "(schedule.steps_per_epoch): type schedule.steps=..."
        )
    owners = [name for name in options_with(group, parts(setting.key)[1:]) if choice and name != choice]
    if len(owners) == 1:
        return f"{problem}; it belongs to {group}={owners[0]}: type {group}={owners[0]} {form.format(setting.key)}"
    if owners:
        return f"{problem}; it belongs to {' or '.join(f'{group}={name}' for name in owners[:3])}"
    close = nearest(last, [name.rpartition(".")[2] for name in beside])
    name = ALSO_CALLED.get(setting.key) or (None if close else ALSO_CALLED.get(last))
    if name is not None and has(config, name):
        return f"{problem}; did you mean {form.format(name)}?"
    if nearest(setting.key, beside):
        return f"{problem}; {did_you_mean(setting.key, beside, form=form)}"
    names = leaves if "." in setting.key else [*groups(primary), *leaves]
    if nearest(setting.key, names):
        return f"{problem}; {did_you_mean(setting.key, names, form=form)}"
    if beside:
        return f"{problem}; {did_you_mean(setting.key, [name.rpartition('.')[2] for name in beside])}"
    return f"{problem}; " + (
        f"{group}={choice} takes no options" if choice else "--help lists the groups, --cfg job all settings"
    )


def options_with(group: str, below: Sequence[str]) -> list[str]:
    """The options of a group whose files have a key."""
    found = []
    for path in sorted((config_dir() / group).glob("*.yaml")) if below else []:
        node: object = read_yaml(path)
        for part in below:
            node = node.get(part, _ABSENT) if isinstance(node, Mapping) else _ABSENT
        found += [path.stem] if node is not _ABSENT else []
    return found


def _siblings(path: str, config: DictConfig, known: Tree) -> list[str]:
    """What the node that a path points into takes, as paths."""
    above = ".".join(parts(path)[:-1])
    if not above:
        return []
    below: Tree = known
    for part in parts(above):
        below = below.get(part) or {}
    node = OmegaConf.select(config, above, default=None, throw_on_missing=False) if has(config, above) else None
    content: Any = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig) else below
    try:
        options = options_of(content, above, below)
    except NoSuchTarget:
        options = None
    return [f"{above}.{name}" for name in (options or map(str, content)) if not name.startswith("_")]
