"""Minerva: 272 undergraduate science problems (Lewkowycz et al. 2022, arXiv 2206.14858); non-commercial use only.

An evaluation set; ``alt_answers`` of a data folder's file are further accepted answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gainrl.datasets.published import PublishedFile, Record, published


def _records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    for index, row in enumerate(rows):
        yield {
            "id": f"minerva-hub-{index:03d}",
            "problem": row["question"],
            "answer": str(row["answer"]),
            "difficulty": None,
            "source": "minerva_math/test",
        }


minerva = published(
    hub="math-ai/minervamath",
    held_out=PublishedFile(name="minerva_math_test", split="test", records=_records),
    held_out_only=True,
)
