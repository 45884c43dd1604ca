"""Flags of the command line: Hydra's and ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gainrl.app.errors import ConfigError
from gainrl.app.nearest import nearest

_ALONE = {
    "--help": "help", "-h": "help", "--version": "version", "--multirun": "multirun", "-m": "multirun", "--run": "run",
    "-r": "run", "--resolve": "resolve", "--hydra-help": "passes", "--shell-completion": "passes", "-sc": "passes",
}  # fmt: skip
_WITH_VALUE = {
    "--cfg": "cfg", "-c": "cfg", "--package": "package", "-p": "package", "--config-dir": "config_dir",
    "-cd": "config_dir", "--config-name": "config_name", "-cn": "config_name", "--config-path": "passes",
    "-cp": "passes", "--experimental-rerun": "passes",
}  # fmt: skip
_MAY_HAVE_VALUE = {"--info": "info", "-i": "info"}
_VALUES = {
    "cfg": ("job", "hydra", "all"),
    "info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
MENTIONED = ("--help", "--version", "-m", "--multirun", "--cfg", "--resolve", "--info", "--package", "--config-dir")


@dataclass(slots=True)
class Typed:
    """A command line taken apart: ``flags`` by name with their values, and the settings in the order typed.

    ``passes``: a flag was typed that only Hydra understands, so nothing else can be checked.
    """

    flags: dict[str, str] = field(default_factory=dict)
    settings: list[str] = field(default_factory=list)
    passes: bool = False

    @property
    def multirun(self) -> bool:
        return "multirun" in self.flags


def read_flags(arguments: Sequence[str], own: Sequence[str] = ()) -> Typed:
    """Takes a command line apart; ``own``: further flags of the command. Raises ConfigError for anything else."""
    typed = Typed()
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if argument in own:
            typed.flags[argument] = ""
        elif argument in _ALONE:
            kind = _ALONE[argument]
            typed.flags[kind] = ""
            typed.passes |= kind == "passes"
        elif name in _WITH_VALUE or name in _MAY_HAVE_VALUE:
            kind = {**_WITH_VALUE, **_MAY_HAVE_VALUE}[name]
            if not equals:
                given = bool(rest) and not rest[0].startswith("-") and "=" not in rest[0]
                value = rest.pop(0) if given and (name in _WITH_VALUE or rest[0] in _VALUES[kind]) else ""
            if not value and name in _WITH_VALUE:
                raise ConfigError(f"{name} needs a value; type {name} {_VALUES.get(kind, ('...',))[0]}")
            if kind in _VALUES and value and value not in _VALUES[kind]:
                raise ConfigError(f"{name} {value} is unknown; use one of {', '.join(_VALUES[kind])}")
            typed.flags[kind] = value
            typed.passes |= kind == "passes"
        elif argument.startswith("-"):
            raise ConfigError(_unknown_flag(argument, rest, own))
        else:
            typed.settings.append(argument)
    _refuse_two(typed.flags)
    return typed


def _refuse_two(flags: dict[str, str]) -> None:
    """Raises ConfigError for two flags that each ask for something else."""
    asked = [f"--{name}" for name in ("cfg", "info", "multirun", "run") if name in flags]
    if len(asked) > 1:
        raise ConfigError(
            f"{' and '.join(asked)} exclude each other; leave out {asked[-1]}, or type -m ... --dry-run to list the "
            "jobs of a sweep"
        )


def _unknown_flag(argument: str, rest: Sequence[str], own: Sequence[str]) -> str:
    bare = argument.lstrip("-")
    close = nearest(bare.partition("=")[0], [*MENTIONED, *own], most=1)
    if "=" in bare:
        return f"{argument}: settings are typed without dashes; type {bare}"
    if close:
        return f"{argument} is not a flag; did you mean {close[0]}?"
    if rest and not rest[0].startswith("-") and "=" not in rest[0]:
        return f"{argument} {rest[0]}: settings are typed without dashes, as key=value; type {bare}={rest[0]}"
    return (
        f"{argument} is not a flag; the flags are {', '.join([*MENTIONED, *own])}, and settings are typed as key=value"
    )
