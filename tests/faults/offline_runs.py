"""What the files of W&B's offline runs say of their steps."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from wandb.proto import wandb_internal_pb2

from tests.app.wandb_file import messages


@dataclass
class OfflineRun:
    """The id of a run and the rows of its steps, in the order in which they were written."""

    id: str = ""
    rows: list[dict[str, float]] = field(default_factory=list)

    @property
    def steps(self) -> list[int]:
        return [int(row["trainer/global_step"]) for row in self.rows]


def offline_runs(folder: Path) -> list[OfflineRun]:
    """The offline runs of a run directory, oldest first."""
    return [_read(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def _read(path: Path) -> OfflineRun:
    run = OfflineRun()
    for content in messages(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        if record.HasField("run"):
            run.id = record.run.run_id
        if record.HasField("history"):
            row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            if "trainer/global_step" in row:
                run.rows.append(row)
    return run
