"""Reads JSON Lines files, and says of a file that cannot be read which line is at fault and what to do.

A file is judged by its content, not by its name: gzip is unpacked whatever the file is called, and a byte order mark
of UTF-8 is skipped.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

Record = dict[str, Any]

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WIDE = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\0{": "UTF-16BE", b"{\0": "UTF-16LE"}
_OTHERS = {
    b"PK\x03\x04": "a zip archive: unpack it with unzip",
    b"PAR1": "a Parquet file: write it as JSON Lines, with pandas.read_parquet(...).to_json(..., orient='records', "
    "lines=True)",
    b"\xfd7zXZ": "an xz archive: unpack it with unxz",
    b"\x28\xb5\x2f\xfd": "a zstd archive: unpack it with unzstd",
    b"BZh": "a bzip2 archive: unpack it with bunzip2",
    b"ARROW1": "an Arrow file: write it as JSON Lines, with datasets.Dataset.from_file(...).to_json(...)",
}
_FIELD = re.compile(r'"([^"\\]*)"\s*:\s*[^:]*\Z')  # the field that a damaged line was in when it broke off
_SHOWN = 60


def existing_file(file: str) -> Path:
    """The path of a file that is there; raises ValueError where it is not."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"{file} is not a file; give the path of a .jsonl or .jsonl.gz file")
    return path


@dataclass(frozen=True, slots=True)
class Line:
    """Where a record stands: the file (or the data set on a hub) and its line (or row), counted from 1."""

    file: str
    number: int
    unit: str = "line"

    def fault(self, text: str) -> ValueError:
        return ValueError(f"{self.unit} {self.number} of {self.file}: {text}")


def numbered_lines(path: Path) -> Iterator[tuple[Line, Record]]:
    """The objects of a JSON Lines file, gzip or not, and where they stand; blank lines are skipped.

    Raises ValueError with the file, the line and what to do for a file that is not UTF-8, is cut off, is of another
    format or holds nothing, and for a line that is not one JSON object with each name once and whole characters.
    """
    number, has_rows = 0, False
    try:
        with _opened(path) as file:
            for number, raw in enumerate(file, start=1):
                line = Line(str(path), number)
                text = _decoded(raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw, line)
                if text.strip():
                    has_rows = True
                    yield line, _record(text, line)
    except (EOFError, gzip.BadGzipFile, zlib.error) as fault:
        raise ValueError(
            f"{path} is damaged after line {number} ({fault}): it was probably cut off on its way here; fetch it again"
        ) from None
    except OSError as fault:
        raise ValueError(f"{path} cannot be read: {fault.strerror or fault}") from None
    if not has_rows:
        raise ValueError(f"{path} is empty: give a file with one problem a line")


def _opened(path: Path) -> BinaryIO | gzip.GzipFile:
    file = path.open("rb")
    start = file.read(6)
    file.seek(0)
    if start.startswith(_GZIP):
        file.close()
        return gzip.open(path, "rb")
    try:
        _check_format(path, start)
    except ValueError:
        file.close()
        raise
    return file


def _check_format(path: Path, start: bytes) -> None:
    for mark, encoding in _WIDE.items():
        if start.startswith(mark):
            raise ValueError(
                f"{path} is in {encoding}, not UTF-8: convert it with iconv -f {encoding} -t UTF-8 {path} > new.jsonl"
            )
    for mark, advice in _OTHERS.items():
        if start.startswith(mark):
            raise ValueError(f"{path} is {advice}")


def _decoded(raw: bytes, line: Line) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as fault:
        before = _FIELD.findall(raw[: fault.start].decode("latin-1"))
        field = f" of field {before[-1]!r}" if before else ""
        raise line.fault(
            f"byte {fault.start + 1}{field} (0x{raw[fault.start]:02x}) is not UTF-8; if the file is in Latin-1, "
            f"convert it with iconv -f LATIN1 -t UTF-8 {line.file} > new.jsonl"
        ) from None


def _record(text: str, line: Line) -> Record:
    try:
        record = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as fault:
        guess = _guess(text, line, fault)
        raise line.fault(f"not JSON: {fault.msg} at character {fault.colno}{guess}") from None
    except (ValueError, RecursionError) as fault:
        reason = "it is nested too deeply" if isinstance(fault, RecursionError) else str(fault)
        raise line.fault(f"{reason}; correct the line") from None
    if not isinstance(record, dict):
        advice = " (jq -c '.[]' file > new.jsonl splits an array)" if isinstance(record, list) else ""
        shown = repr(text.strip()[:_SHOWN])
        raise line.fault(f"not a JSON object with named fields: {shown}; give one object a line{advice}")
    if "\\ud" in text or "\\uD" in text:
        _check_surrogates(record, line)
    return record


def _guess(text: str, line: Line, fault: json.JSONDecodeError) -> str:
    """What probably happened to a line that is not JSON."""
    if line.number == 1 and text.strip() in ("[", "{", "[{"):
        return f"; give one object a line, without breaks inside (jq -c '.[]? // .' {line.file} > new.jsonl)"
    if fault.msg == "Extra data":
        return "; give one object a line"
    if not text.endswith("\n"):
        return "; the file ends in the middle of this line, as if it were cut off: fetch it again"
    return ""


def _unique(pairs: list[tuple[str, Any]]) -> Record:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"field {twice!r} is given twice")
    return record


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value; use null or a finite number")


def _check_surrogates(record: Record, line: Line) -> None:
    for name, value in record.items():
        written = json.dumps([name, value], ensure_ascii=False)
        try:
            written.encode("utf-8")
        except UnicodeEncodeError as fault:
            half = f"\\u{ord(written[fault.start]):04x}"
            shown = name.encode("utf-8", "backslashreplace").decode()
            raise line.fault(
                f"field {shown!r} holds {half}, one half of a character; remove it, or write the whole character"
            ) from None
