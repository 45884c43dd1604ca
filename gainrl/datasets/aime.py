"""AIME: problems of 1983 to 2023 whose answers are integers from 0 to 999, with the 30 problems of 2024 held out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gainrl.datasets.published import PublishedFile, Record, load_splits
from gainrl.datasets.splits import DataSplits


def aime(
    *,
    data_dir: str | None = None,
    train_hub: str = "gneubig/aime-1983-2024",
    train_revision: str | None = "5d610df981dec508dd93d0a16333a029ac1739d8",
    hub: str = "HuggingFaceH4/aime_2024",
    revision: str | None = "2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
    cache_dir: str | None = None,
    held_out_only: bool = False,
) -> DataSplits:
    """AIME up to 2023 and AIME 2024.

    The hub's training collection lacks some dozens of the 975 problems that a data folder holds, and their
    difficulties.
    """
    train = (
        None
        if held_out_only
        else PublishedFile(name="aime_train", split="train", records=_train_records, folder_only=("overlap",))
    )
    held_out = PublishedFile(name="aime24_test", split="train", records=_test_records, folder_only=("difficulty",))
    return load_splits(
        train,
        held_out,
        train_hub=(train_hub, train_revision),
        hub=(hub, revision),
        data_dir=data_dir,
        cache_dir=cache_dir,
    )


def _train_records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    for row in rows:
        if int(row["Year"]) < 2024:
            part, number = row["Part"] or "I", int(row["Problem Number"])
            yield _record(row["Question"], row["Answer"], int(row["Year"]), part, number, "aime/1983-2023")


def _test_records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    records = []
    for row in rows:
        contest = re.search(r"(\d{4})_AIME_(I+)_Problems/Problem_(\d+)", row["url"])
        if contest is None:
            raise ValueError(f"{row['url']!r} names no AIME problem, so its row can have no id; check dataset.hub")
        year, part, number = contest.groups()
        record = _record(row["problem"], row["answer"], int(year), part, int(number), f"aime/{year}")
        records.append(((part, int(number)), record))
    yield from (record for _, record in sorted(records, key=lambda pair: pair[0]))


def _record(problem: str, answer: Any, year: int, part: str, number: int, source: str) -> Record:
    # The data folder's file numbers problem 15 of the newer contests 00; an id must not depend on the way of loading.
    shown = number % 15 if year >= 2023 else number
    return {
        "id": f"aime-{year}-{part}-{shown:02d}",
        "problem": problem,
        "answer": str(int(answer)),
        "difficulty": None,
        "source": source,
    }
