"""The published data sets, where they are at hand, and short copies of them for tests of whole runs."""

from __future__ import annotations

import gzip
import os
from itertools import islice
from pathlib import Path

import pytest

DATA = os.environ.get("GAINRL_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="GAINRL_DATA does not name the folder with the published data sets")


def excerpt(folder: Path, sizes: dict[str, int]) -> Path:
    """A data folder with the first so many records of each published file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in sizes.items():
        with (
            gzip.open(Path(DATA, f"{name}.jsonl.gz"), "rt", encoding="utf-8") as source,
            gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as target,
        ):
            target.writelines(islice(source, size))
    return folder
