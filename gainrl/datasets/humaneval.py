"""HumanEval: 164 Python functions to complete, with tests (Chen et al. 2021, arXiv 2107.03374).

An evaluation set; `Problem.extra` has ``entry_point`` and ``tests``, a program that ends in its own check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gainrl.datasets.published import PublishedFile, Record, published


def _records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    for row in rows:
        yield {
            "id": row["task_id"],
            "problem": row["prompt"],
            "entry_point": row["entry_point"],
            "tests": f"{row['test'].rstrip(chr(10))}\n\n\ncheck({row['entry_point']})\n",
            "solution": row["prompt"] + row["canonical_solution"],
            "difficulty": None,
            "source": "humaneval/test",
        }


humaneval = published(
    hub="openai/openai_humaneval",
    revision="7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
    held_out=PublishedFile(name="humaneval_test", config="openai_humaneval", split="test", records=_records),
    held_out_only=True,
)
