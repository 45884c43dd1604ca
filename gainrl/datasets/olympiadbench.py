"""OlympiadBench: 675 open-ended olympiad problems in English, text only (He et al. 2024, arXiv 2402.14008).

An evaluation set; ``unit``, ``tolerance``, ``answer_type`` and ``is_multiple_answer`` are in `Problem.extra`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gainrl.datasets.published import PublishedFile, Record, published

_CONFIG = "OE_TO_maths_en_COMP"


def _records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    for row in rows:
        record = {
            "id": f"olympiadbench-{row['id']}",
            "problem": row["question"],
            "answer": ", ".join(answer.replace("$", "").strip() for answer in row["final_answer"]),
            "difficulty": None,
            "source": f"olympiadbench/{_CONFIG}",
            "subject": row["subfield"],
            "answer_type": row["answer_type"],
            "is_multiple_answer": row["is_multiple_answer"],
        }
        optional = {"unit": row["unit"], "tolerance": row["error"]}
        yield record | {name: value for name, value in optional.items() if value}


olympiadbench = published(
    hub="Hothan/OlympiadBench",
    revision="91184b52131e7fc9455fef848035173aea8cc01a",
    held_out=PublishedFile(name="olympiadbench_test", config=_CONFIG, split="train", records=_records),
    held_out_only=True,
)
