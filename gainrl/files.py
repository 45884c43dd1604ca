"""Files that appear under their name whole or not at all, and where those lie that are kept between runs."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DRAFT = ".draft"


@contextmanager
def whole_file(path: Path, *, durable: bool = False, contested: bool = False) -> Iterator[Path]:
    """The name of a draft beside ``path``, which replaces ``path`` when the block ends, and goes if the block fails.

    ``durable`` waits until the file and its name are on the disk. The draft of a writer that died is removed by the
    next one; where several may write the file at once, on any machine, ``contested`` gives each a draft of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = f".{uuid.uuid4().hex[:12]}" if contested else ""
    draft = path.with_name(f".{path.name}{mark}{DRAFT}")
    draft.unlink(missing_ok=True)  # it may be a link to a file that must not change
    try:
        yield draft
        if durable:
            sync(draft)
        os.replace(draft, path)
        if durable:
            sync(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Waits until a file or the entries of a folder are on the disk; a file that does not exist is passed over."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cache_dir() -> Path:
    """Where models, warm starts and signals are kept: ``GAINRL_CACHE``, or ``gainrl`` in the user's cache folder."""
    given = os.environ.get("GAINRL_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "gainrl"
