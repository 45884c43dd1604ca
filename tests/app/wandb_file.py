"""Reads the file that W&B keeps of an offline run: a LevelDB log (github.com/google/leveldb, doc/log_format.md)."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK, _HEADER, _FILE_HEADER = 32768, 7, 7
_WHOLE, _FIRST, _LAST = 1, 2, 4


def messages(data: bytes) -> Iterator[bytes]:
    """The messages that are whole: after the file's header, pieces of (checksum, length, kind) and data, in blocks.

    A writer that was killed leaves a last message that is not.
    """
    place, parts = _FILE_HEADER, b""
    while True:
        if _BLOCK - place % _BLOCK < _HEADER:  # a block's end too short for a piece is padding
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


def read_offline(folder: Path) -> dict[str, Any]:
    """``run`` (the message), ``config``, ``history`` (rows), ``summary`` and ``axes`` of an offline run."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    found: dict[str, Any] = {"run": None, "config": {}, "history": [], "summary": {}, "exit": None, "axes": set()}
    for message in messages(path.read_bytes()):
        record = Record.FromString(message)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["run"] = record.run
            found["config"] |= _values(record.run.config.update)
        elif kind == "config":
            found["config"] |= _values(record.config.update)
        elif kind == "history":
            found["history"].append(_values(record.history.item))
        elif kind == "summary":
            found["summary"] |= _values(record.summary.update)
        elif kind == "metric":
            found["axes"].add(record.metric.name)
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
