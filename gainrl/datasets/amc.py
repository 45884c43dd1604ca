"""AMC: contest problems, with the 83 AMC 12 problems of 2022 and 2023 held out.

The training problems with an answer that can be checked are in a data folder only: no hub has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gainrl.datasets.published import PublishedFile, Record, published


def _test_records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    for index, row in enumerate(rows):
        answer = float(row["answer"])
        contest = re.search(r"(\d{4})_AMC_(\w+?)_Problems.*?(\d+)$", row["url"])
        yield {
            "id": f"amc23-{index:02d}",
            "problem": row["problem"],
            "answer": str(int(answer)) if answer.is_integer() else str(answer),
            "difficulty": None,
            "source": f"amc/{'-'.join(contest.groups())}" if contest else "amc/2022-2023",
        }


amc = published(
    hub="AI-MO/aimo-validation-amc",
    revision="69d78a4a2c840e82d69af6bc742bda09005f6316",
    train=PublishedFile(name="amc_train", split="train", records=None),
    held_out=PublishedFile(name="amc_test", split="train", records=_test_records, folder_only=("difficulty",)),
)
