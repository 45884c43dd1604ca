"""Reads the file that W&B keeps of an offline run: its records in LevelDB's log format, each a protobuf message."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEADER, _BLOCK = 7, 32768
_FULL, _LAST = 1, 4


def messages(path: Path) -> Iterator[bytes]:
    """Whole messages: after a file header of 7 bytes, pieces of (checksum, length, type) and data, within blocks."""
    data = path.read_bytes()
    place, parts = _HEADER, b""
    while place + _HEADER <= len(data):
        if _BLOCK - place % _BLOCK < _HEADER:  # a block's end too short for a piece is padding
            place += _BLOCK - place % _BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + _HEADER])
        parts += data[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (_FULL, _LAST):
            yield parts
            parts = b""


def read_offline(folder: Path) -> dict[str, Any]:
    """``run`` (the message), ``config``, ``history`` (rows) and ``summary`` of the one offline run below a folder."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    found: dict[str, Any] = {"run": None, "config": {}, "history": [], "summary": {}, "exit": None}
    for message in messages(path):
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
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
