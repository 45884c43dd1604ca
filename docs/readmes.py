"""Writes the lists of files in the READMEs of packages and of configuration groups: python docs/readmes.py

A line is the first sentence of a docstring, or the first comment of an option file. An option without a comment
takes the line of the code it builds. What stands above the list is written by hand and kept.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = "<!-- The list is written by docs/readmes.py from the first line of each file. -->"
LINKED = {"experiment", "sweep"}  # folders with READMEs of their own


def folders() -> list[Path]:
    """Every package, and every group of the configuration."""
    packages = sorted(path.parent for path in (ROOT / "gainrl").rglob("__init__.py"))
    groups = sorted(path for path in (ROOT / "conf").iterdir() if path.is_dir() and path.name not in LINKED)
    return packages + groups


def first_sentence(path: Path) -> str:
    """What a file says of itself, without a full stop; empty if it says nothing."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return _sentence(ast.get_docstring(ast.parse(text)) or "")
    comments = re.match(r"(?:#.*\n)+", text)
    lines = [line.lstrip("# ") for line in comments.group().splitlines()] if comments else []
    lines = [line for line in lines if line and not line.startswith("@package")]
    if lines:
        return _sentence("\n".join(lines))
    target = re.search(r"^_target_: (gainrl\.[\w.]+)\.\w+$", text, re.MULTILINE)
    module = ROOT / f"{target.group(1).replace('.', '/')}.py" if target else None
    return first_sentence(module) if module is not None and module.is_file() else ""


def _sentence(text: str) -> str:
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    sentence = re.split(r"(?<=\.)(?<!e\.g\.)\s+(?=[A-Z])", paragraph)[0]
    return re.sub(r"``([^`]*)``", r"`\1`", sentence).rstrip(".:;")


def introduction(folder: Path) -> str:
    """The first sentence of a folder's README, below its heading."""
    return _sentence((folder / "README.md").read_text(encoding="utf-8").partition("\n")[2])


def listing(folder: Path) -> str:
    """One line per file of a folder, and one per package inside it."""
    inner = sorted(path.parent for path in folder.glob("*/__init__.py"))
    files = sorted(path for path in folder.iterdir() if path.suffix in (".py", ".yaml") and path.name[0] != "_")
    items = [f"- [`{path.name}/`]({path.name}/README.md): {introduction(path)}" for path in inner]
    items += [f"- [`{path.name}`]({path.name}): {first_sentence(path)}" for path in files]
    wrapped = [line for item in items for line in _wrapped(item)]
    return "\n".join([MARK, "", *wrapped, ""])


def _wrapped(item: str) -> list[str]:
    """The lines of a list item, which fit a terminal."""
    return textwrap.wrap(item, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def page(folder: Path) -> str:
    """The README of a folder, with its list as the files have it now."""
    path = folder / "README.md"
    known = path.read_text(encoding="utf-8") if path.is_file() else f"# {folder.relative_to(ROOT)}\n\n"
    return known.partition(MARK)[0] + listing(folder)


if __name__ == "__main__":
    for place in folders():
        (place / "README.md").write_text(page(place), encoding="utf-8")
