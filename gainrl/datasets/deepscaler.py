"""DeepScaleR-Preview: 40,315 rows of contest mathematics (agentica-project), the paper's set for 1.5B to 7B models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gainrl.datasets.math import MATH_500, MATH_500_HUB
from gainrl.datasets.published import PublishedFile, Record, load_splits
from gainrl.datasets.splits import DataSplits


def deepscaler(
    *,
    data_dir: str | None = None,
    hub: str = "agentica-org/DeepScaleR-Preview-Dataset",
    revision: str | None = "b6ae8c60f5c1f2b594e2140b91c49c9ad0949e29",
    held_out_hub: str = MATH_500_HUB[0],
    held_out_revision: str | None = MATH_500_HUB[1],
    cache_dir: str | None = None,
    held_out_only: bool = False,
) -> DataSplits:
    """Distinct problems of DeepScaleR, with MATH-500 held out.

    Rows that repeat a problem are one problem here: ``rows`` lists where the full file has it (the published order
    counts in those rows), ``alt_answers`` the other answers that it gives. The file of a data folder is partial.
    """
    train = PublishedFile(name="deepscaler_partial_train", split="train", records=_records, folder_only=("overlap",))
    pool = None if held_out_only else train
    return load_splits(
        pool,
        MATH_500,
        train_hub=(hub, revision),
        hub=(held_out_hub, held_out_revision),
        data_dir=data_dir,
        cache_dir=cache_dir,
    )


def _records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    records: dict[str, Record] = {}
    for index, row in enumerate(rows):
        problem, answer = row["problem"].strip(), str(row["answer"] or "").strip()
        if not answer:  # of six rows on the hub; nothing could be judged by them
            continue
        record = records.setdefault(
            problem,
            {
                "id": f"deepscaler-r{index:05d}",
                "problem": problem,
                "answer": answer,
                "difficulty": None,
                "source": "deepscaler/train",
                "rows": [],
            },
        )
        record["rows"].append(index)
        if answer != record["answer"] and answer not in record.get("alt_answers", ()):
            record.setdefault("alt_answers", []).append(answer)
    yield from records.values()
