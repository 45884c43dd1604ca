"""``--help``: the examples of a command, and the groups that it takes with their options."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence

from gainrl.app.paths import config_dir
from gainrl.app.schema import groups, read_yaml

_MARK = "$GROUPS"


def help_text(primary: str, *, hidden: Sequence[str] = (), width: int | None = None) -> str:
    """The text in ``hydra.help`` of a primary configuration, with its groups; those in ``hidden`` are left out."""
    texts = read_yaml(config_dir() / f"{primary}.yaml")["hydra"]["help"]
    text = str(texts["template"]).replace("${hydra.help.header}", str(texts["header"]).strip())
    wide = width or max(60, min(120, shutil.get_terminal_size().columns))
    return text.replace(_MARK, "\n".join(_group_lines(primary, hidden, wide)))


def listed_options(primary: str, *, hidden: Sequence[str] = ()) -> dict[str, list[str]]:
    """Group to options, as ``--help`` lists them."""
    return {
        group: sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))
        for group in groups(primary)
        if group not in hidden
    }


def _group_lines(primary: str, hidden: Sequence[str], width: int) -> list[str]:
    chosen = _defaults(primary)
    listed = listed_options(primary, hidden=hidden)
    margin = 2 + max(map(len, listed)) + 2
    lines = []
    for group in sorted(listed):
        names = [f"{name}*" if name in chosen.get(group, []) else name for name in listed[group]]
        lines += textwrap.wrap(
            "  ".join(names),
            width=width,
            initial_indent=f"  {group}".ljust(margin),
            subsequent_indent=" " * margin,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def _defaults(primary: str) -> dict[str, list[str]]:
    entries = read_yaml(config_dir() / f"{primary}.yaml")["defaults"]
    return {
        str(key).split()[-1]: value if isinstance(value, list) else [str(value)]
        for entry in entries
        if isinstance(entry, Mapping)
        for key, value in entry.items()
        if not str(key).startswith("override ")
    }
