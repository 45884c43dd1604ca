"""Reads the files of W&B's offline runs: a leveldb log (github.com/google/leveldb, doc/log_format.md) of records."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from wandb.proto import wandb_internal_pb2

_BLOCK, _HEADER, _FILE_HEADER = 32768, 7, 7
_WHOLE, _FIRST, _LAST = 1, 2, 4


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
    for content in _contents(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        if record.HasField("run"):
            run.id = record.run.run_id
        if record.HasField("history"):
            row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            if "trainer/global_step" in row:
                run.rows.append(row)
    return run


def _contents(data: bytes) -> Iterator[bytes]:
    """The records that are whole; a writer that was killed leaves a last one that is not."""
    place, parts = _FILE_HEADER, b""
    while True:
        if _BLOCK - place % _BLOCK < _HEADER:
            place += _BLOCK - place % _BLOCK
        if place + _HEADER > len(data):
            return
        _, size, kind = struct.unpack_from("<IHB", data, place)
        place += _HEADER
        if kind == 0 or place + size > len(data):
            return
        parts = data[place : place + size] if kind in (_WHOLE, _FIRST) else parts + data[place : place + size]
        place += size
        if kind in (_WHOLE, _LAST):
            yield parts
