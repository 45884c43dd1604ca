"""``key=value`` as typed: the grammar, with a sentence for what it cannot read, and texts from files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gainrl.app.errors import ConfigError
from gainrl.app.paths import config_dir

_KEY = re.compile(r"(?P<sign>\+\+|\+|~)?(?P<key>[A-Za-z_][\w./@$-]*(\[\d+\][\w.]*)*)\Z")
_FILE = re.compile(r"@[^,\s@]+(,@[^,\s@]+)*\Z")


@dataclass(frozen=True, slots=True)
class Setting:
    """One argument: ``sign`` is empty, ``+``, ``++`` or ``~``; ``key`` a group or a path; ``choices`` what is swept.

    ``value`` is the text after ``=``, None where there is none (``~key``). ``choices`` holds the values that a multirun
    would start jobs for, as texts that can be typed again; a setting that sweeps nothing has one.
    """

    sign: str
    key: str
    value: str | None
    choices: tuple[str, ...]
    sweeps: bool
    typed: str

    def text(self, *, sign: str | None = None, value: str | None = None) -> str:
        """The argument for Hydra."""
        given = self.value if value is None else value
        return f"{self.sign if sign is None else sign}{self.key}" + ("" if given is None else f"={given}")


def read_settings(arguments: Sequence[str], *, multirun: bool) -> list[Setting]:
    """All settings of a command line. Raises ConfigError with one line per argument that cannot be read."""
    settings, faults = [], []
    skip = 0
    for place, argument in enumerate(arguments):
        if skip:
            skip -= 1
            continue
        advice, taken = _sentence(arguments[place:]) or _apart(arguments[place : place + 3])
        if advice:
            faults.append(advice)
            skip = taken - 1
            continue
        try:
            settings.append(read_setting(argument, multirun=multirun))
        except ConfigError as fault:
            faults.append(str(fault))
    if faults:
        raise ConfigError("\n".join(faults))
    return settings


def _sentence(arguments: Sequence[str]) -> tuple[str, int] | None:
    """The advice for a text of several words without quotes, and how many arguments it became; None for anything else.

    Words are arguments without a sign of the grammar that follow a setting; a single one may be a forgotten ``=``.
    """
    words = []
    for argument in arguments[1:]:
        if not re.fullmatch(r"[\w.,;:!?'-]+", argument) or argument in ("help", "version"):
            break
        words.append(argument)
    key, equals, value = arguments[0].partition("=")
    if not equals or not value or not words or value.endswith(",") or words[0].startswith(","):
        return None
    if len(words) == 1 and any(words[0] in (group, *names) for group, names in _options().items()):
        return None
    whole = shell(f"{key}={quoted(' '.join([value, *words]))}")
    return (
        f"{' '.join(words)!r} has no '='. If it belongs to {arguments[0]!r}, quote the whole argument: {whole}",
        1 + len(words),
    )


def _apart(arguments: Sequence[str]) -> tuple[str, int]:
    """The advice for a setting that was split by spaces, and how many arguments it became; empty for any other."""
    first, second, third = (*arguments, "", "")[:3]
    whole, taken = "", 2
    if "=" not in first + second and second in _options().get(first, ()):
        return f"{f'{first} {second}'!r} lacks an '='; type {first}={second}", 2
    if "=" not in first and second == "=" and third and "=" not in third:
        whole, taken = f"{first}={third}", 3
    elif ("=" not in first and second.startswith("=") and len(second) > 1) or (
        first.endswith("=") and second and "=" not in second and len(first) > 1
    ):
        whole = first + second
    elif "=" in first and second and "=" not in second and (first.endswith(",") or second.startswith(",")):
        whole = f"{first.rstrip(',')},{second.lstrip(',')}"
        if second.endswith(",") and third and "=" not in third:
            whole, taken = whole.rstrip(",") + "," + third, 3
    given = " ".join(arguments[:taken])
    return (f"{given!r} has spaces, which separate settings; type {whole}", taken) if whole else ("", 0)


def read_setting(argument: str, *, multirun: bool) -> Setting:
    """One setting. Raises ConfigError with what to type instead."""
    head, equals, value = argument.partition("=")
    found = _KEY.match(head.strip())
    if found is None or not (equals or head.startswith("~")):
        raise ConfigError(_not_a_setting(argument, head, equals))
    sign, key = found["sign"] or "", found["key"]
    if not equals:
        return Setting(sign, key, None, (), False, argument)
    if value.startswith("@") and _FILE.match(value):
        value = ",".join(quoted(_content(key, name[1:])) for name in value.split(","))
    elif "," in value and "/" in value and Path(value).expanduser().exists():
        value = quoted(value)  # directories of runs have commas in their names
    if head != head.strip() or (value[:1].isspace() and value.strip()):
        raise ConfigError(f"{argument!r}: no space may stand beside the '='; type {head.strip()}={value.strip()}")
    choices, sweeps = _choices(f"{key}={value}", argument, key, value)
    if sweeps and (not multirun or _is_prose(value)):
        raise ConfigError(_several_values(argument, key, value, multirun))
    return Setting(sign, key, value, choices, sweeps, argument)


def _choices(text: str, argument: str, key: str, value: str) -> tuple[tuple[str, ...], bool]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(text)
        if not override.is_sweep_override():
            return (value,), False
        if not override.is_discrete_sweep() or "glob(" in value:
            return (value,), True  # what it stands for is not known here
        return tuple(map(str, override.sweep_string_iterator())), True
    except HydraException as fault:
        raise ConfigError(_unreadable(argument, key, value)) from fault


def _not_a_setting(argument: str, head: str, equals: str) -> str:
    if equals:
        return f"{argument!r}: {head!r} is not the name of a setting; names are made of letters, digits, '_' and '.'"
    owners = [group for group, names in _options().items() if argument in names]
    if argument in ("help", "version"):
        return f"{argument!r} is a flag; type --{argument}"
    if owners:
        return f"{argument!r} has no '='; type {' or '.join(f'{group}={argument}' for group in owners)}"
    if argument in _options():
        return f"{argument!r} has no '='; type {argument}={_options()[argument][0]}, or another option of {argument}"
    return (
        f"{argument!r} has no '='; settings are typed as key=value, without spaces, such as {argument.strip('+,=')}=..."
    )


@cache
def _options() -> dict[str, list[str]]:
    """Group to the names of its shipped options."""
    found: dict[str, list[str]] = {}
    for path in sorted(config_dir().glob("*/*.yaml")):
        found.setdefault(path.parent.name, []).append(path.stem)
    return found


def _unreadable(argument: str, key: str, value: str) -> str:
    return (
        f"{argument!r} cannot be read: a text with any of , = : ' \" [ ] {{ }} ( ) \\ needs quotes inside "
        f"the shell's; type {shell(f'{key}={quoted(value)}')}\nor put the text into a file and type {key}=@FILE"
    )


def _several_values(argument: str, key: str, value: str, multirun: bool) -> str:
    if _is_prose(value):
        text = shell(f"{key}={quoted(value)}")
        return (
            f"{argument!r} names several values because of its comma. If it is one text, type {text}, or "
            f"{key}=@FILE with the text in a file"
            + ("" if not multirun else f"; if it is several, quote each: {shell(f'{key}=' + _each_quoted(value))}")
        )
    return (
        f"{argument!r} names several values, and several runs are a sweep: add -m. For one list type "
        f"{shell(f'{key}=[{value}]')}, for one text {shell(f'{key}={quoted(value)}')}"
    )


def _is_prose(value: str) -> bool:
    """Whether a value with a comma reads like a sentence: a space follows a comma, without quotes or brackets."""
    return ", " in value and not re.search(r"['\"\[\]{}()]", value)


def _each_quoted(value: str) -> str:
    return ",".join(quoted(part.strip()) for part in value.split(","))


def quoted(text: str) -> str:
    """A text in the quotes of Hydra's grammar, in which every character stands for itself."""
    body = re.sub(
        r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", text
    )  # else OmegaConf would look for a setting of that name
    body = re.sub(r'(\\*)"', lambda found: found[1] * 2 + '\\"', body)
    trailing = len(body) - len(body.rstrip("\\"))
    return f'"{body}{chr(92) * trailing}"'


def shell(argument: str) -> str:
    """An argument as it is typed into a shell."""
    return "'" + argument.replace("'", "'\\''") + "'"


def _content(key: str, name: str) -> str:
    path = Path(name).expanduser()
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as fault:
        literal = shell(f"{key}={quoted('@' + name)}")
        reason = fault.strerror if isinstance(fault, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"{key}=@{name}: the file {path} cannot be read ({reason}); paths are relative to the folder where the "
            f"command runs, and a value that begins with @ is typed {literal}"
        ) from fault
