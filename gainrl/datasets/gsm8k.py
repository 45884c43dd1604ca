"""GSM8K: 7,473 grade-school word problems whose answers are plain numbers, and the 1,319 of the test split held out.

Cobbe et al. 2021, arXiv 2110.14168.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from gainrl.datasets.published import PublishedFile, Record, published


def _file(split: str) -> PublishedFile:
    return PublishedFile(name=f"gsm8k_{split}", config="main", split=split, records=partial(_records, split=split))


def _records(rows: Iterable[Mapping[str, Any]], *, split: str) -> Iterator[Record]:
    for index, row in enumerate(rows):
        solution, _, answer = row["answer"].rpartition("####")
        record = {
            "id": f"gsm8k-{split}-{index:05d}",
            "problem": row["question"],
            "answer": answer.strip().replace(",", ""),
            "solution": solution.strip(),
            "difficulty": None,
            "source": f"gsm8k/{split}",
        }
        yield {**record, "row": index} if split == "train" else record


gsm8k = published(
    hub="openai/gsm8k",
    revision="e53f048856ff4f594e959d75785d2c2d37b678ee",
    train=_file("train"),
    held_out=_file("test"),
)
