"""Minerva: 272 undergraduate science problems (Lewkowycz et al. 2022, arXiv 2206.14858); non-commercial use only.

An evaluation set. The hub has questions and answers only, so ids are made of the question, and the subjects and further
accepted answers of a data folder's file are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gainrl.datasets.published import PublishedFile, Record, published


def _records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    for row in rows:
        yield {
            "problem": row["question"],
            "answer": str(row["answer"]),
            "difficulty": None,
            "source": "minerva_math/test",
        }


def _identity(record: Record) -> str:
    return f"minerva-{hashlib.blake2b(record['problem'].strip().encode(), digest_size=4).hexdigest()}"


minerva = published(
    hub="math-ai/minervamath",
    revision="ee46ddc498933b1977577953250ca5c66be64f96",
    held_out=PublishedFile(
        name="minerva_math_test",
        split="test",
        records=_records,
        folder_only=("subject", "alt_answers"),
        identity=_identity,
    ),
    held_out_only=True,
)
