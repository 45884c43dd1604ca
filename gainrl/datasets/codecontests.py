"""CodeContests: programs that read standard input and write standard output (Li et al. 2022, arXiv 2203.07814).

The 165 test problems; with ``held_out_only=False`` the hub's training problems too. ``tests`` in `Problem.extra` is
``{"inputs": [...], "outputs": [...]}`` of the public and private tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from gainrl.datasets.published import PublishedFile, Record, published


def _file(split: str) -> PublishedFile:
    return PublishedFile(
        name=f"codecontests_{split}", config="default", split=split, records=partial(_records, split=split)
    )


def _records(rows: Iterable[Mapping[str, Any]], *, split: str) -> Iterator[Record]:
    width = 3 if split == "test" else 5
    for index, row in enumerate(rows):
        groups = (row["public_tests"], row["private_tests"])
        yield {
            "id": f"codecontests-{'' if split == 'test' else 'train-'}{index:0{width}d}",
            "problem": row["description"],
            "tests": {
                "inputs": [text for group in groups for text in group["input"]],
                "outputs": [text for group in groups for text in group["output"]],
            },
            "difficulty": None,
            "source": f"codecontests/{split}",
        }


codecontests = published(
    hub="deepmind/code_contests",
    revision="802411c3010cb00d1b05bad57ca77365a3c699d6",
    train=_file("train"),
    held_out=_file("test"),
    held_out_only=True,
)
