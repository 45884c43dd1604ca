"""MATH: 7,500 competition problems in five levels, and MATH-500 held out (Hendrycks et al. 2021, arXiv 2103.03874)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gainrl.datasets.published import PublishedFile, Record, load_splits
from gainrl.datasets.splits import DataSplits

# Positions of the problems that the 7,474-row file of the GAIN-RL authors lacks; their published order counts in
# the rows of that file, which `row` gives.
_NOT_IN_PUBLISHED_ORDER = (
    *(304, 802, 1039, 1509, 1935, 2052, 2317, 2503, 2516, 3212, 3443, 4009, 4487),
    *(5558, 5589, 5642, 6140, 6698, 6810, 6859, 7163, 7192, 7269, 7294, 7325, 7453),
)
MATH_500_HUB = ("HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be")
# Answers that are damaged or empty upstream.
_CORRECTED = {252: "17", 5341: "0", 5343: "0"}


def math(
    *,
    data_dir: str | None = None,
    train_hub: str = "DigitalLearningGmbH/MATH-lighteval",
    train_revision: str | None = "0530c78699ea5e8eb5530600900e1f328b48acad",
    hub: str = MATH_500_HUB[0],
    revision: str | None = MATH_500_HUB[1],
    cache_dir: str | None = None,
    held_out_only: bool = False,
) -> DataSplits:
    """The MATH training split and MATH-500; ``level`` is the published one."""
    train = None if held_out_only else _TRAIN
    return load_splits(
        train,
        MATH_500,
        train_hub=(train_hub, train_revision),
        hub=(hub, revision),
        data_dir=data_dir,
        cache_dir=cache_dir,
    )


def last_boxed(text: str) -> str:
    r"""What the last complete ``\boxed{}`` (or ``\fbox{}``) of a text holds; empty if it has neither."""
    start = max(text.rfind(r"\boxed"), text.rfind(r"\fbox"))
    while start >= 0:
        brace = text.find("{", start)
        spaced = text[start:].split("$", 1)[0]
        if spaced.startswith(r"\boxed "):
            return spaced.removeprefix(r"\boxed ").strip()
        depth = 0
        for position in range(brace, len(text)) if brace >= 0 else ():
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                return text[brace + 1 : position].strip()
        start = max(text.rfind(r"\boxed", 0, start), text.rfind(r"\fbox", 0, start))
    return ""


def _train_records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    for index, row in enumerate(rows):
        level = str(row["level"]).removeprefix("Level ")
        missing = bisect_left(_NOT_IN_PUBLISHED_ORDER, index)
        absent = index in _NOT_IN_PUBLISHED_ORDER
        yield {
            "id": f"math-train-{index:05d}",
            "problem": row["problem"],
            "answer": _CORRECTED.get(index) or last_boxed(row["solution"]),
            "solution": row["solution"],
            "difficulty": int(level) if level.isdigit() else None,
            "source": "math/train",
            "subject": row["type"],
            "row": None if absent else index - missing,
        }


def _test_records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    for index, row in enumerate(rows):
        yield {
            "id": f"math500-{index:03d}",
            "problem": row["problem"],
            "answer": row["answer"],
            "solution": row["solution"],
            "difficulty": int(row["level"]),
            "source": f"math500/{row['unique_id']}",
            "subject": row["unique_id"].split("/")[1],
        }


_TRAIN = PublishedFile(
    name="math_train",
    config="default",
    split="train",
    records=_train_records,
    leveled=True,
    folder_only=("note", "overlap"),
)
MATH_500 = PublishedFile(name="math500_test", config="default", split="test", records=_test_records, leveled=True)
