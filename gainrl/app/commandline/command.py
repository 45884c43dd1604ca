"""A command line from what was typed to what Hydra is given: help, refusals with a sentence, canonical settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gainrl.app.commandline.flags import Typed, read_flags
from gainrl.app.errors import explain
from gainrl.app.launch import speaks


@dataclass(frozen=True, slots=True)
class Command:
    """A command that Hydra runs: its name, its file in ``conf``, its own flags, and groups that only files choose."""

    name: str
    primary: str
    cannot: str
    flags: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


def answer(command: Command, arguments: Sequence[str]) -> list[str]:
    """The arguments for Hydra, checked; ``--help`` and ``--version`` are answered here and end the process.

    Raises ConfigError, with what to type instead.
    """
    typed = read_flags(arguments, command.flags)
    if "version" in typed.flags:
        from importlib.metadata import version

        print(f"gainrl {version('gainrl')}")
        sys.exit(0)
    if "help" in typed.flags:
        from gainrl.app.commandline.help import help_text

        print(help_text(command.primary, hidden=command.hidden))
        sys.exit(0)
    if typed.passes or not speaks():  # the processes that a checked one has started get checked arguments
        return list(arguments)
    settings = checked_settings(command, typed)
    return [*_hydra_flags(typed), *settings]


def checked_settings(command: Command, typed: Typed) -> list[str]:
    """The settings of a command line as Hydra wants them. Raises ConfigError."""
    from gainrl.app.commandline.check import check

    return check(command.name, typed.flags.get("config_name") or command.primary, typed)


def _hydra_flags(typed: Typed) -> list[str]:
    given = typed.flags
    flags = [f"--{name}" for name in ("multirun", "run", "resolve") if name in given]
    for name in ("cfg", "info", "package", "config_dir", "config_name"):
        if name in given:
            flags += [f"--{name.replace('_', '-')}", *([given[name]] if given[name] else [])]
    return flags


def run_command(command: Command, main: Callable[[], object]) -> int | None:
    """Checks ``sys.argv``, runs the Hydra function, and turns a fault into a sentence; the exit code if refused."""
    asked = "HYDRA_FULL_ERROR" in os.environ
    try:
        sys.argv[1:] = answer(command, sys.argv[1:])
        os.environ["HYDRA_FULL_ERROR"] = "1"  # its faults come here instead of to the terminal
        from gainrl.app.commandline.composing import mode_taken_from_settings

        with mode_taken_from_settings():
            main()
    except Exception as fault:
        if asked:
            raise
        explain(fault, command.cannot)
        return 1
    finally:
        if not asked:
            os.environ.pop("HYDRA_FULL_ERROR", None)
    return None
