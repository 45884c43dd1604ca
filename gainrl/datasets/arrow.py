"""Problems in an Arrow file: memory-mapped, so that a million of them cost disk and not memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import config

from gainrl.files import whole_file
from gainrl.types import Problem

_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("question", pa.string()),
        ("reference_answer", pa.string()),
        ("level", pa.int32()),
        ("difficulty", pa.float64()),
        ("solution", pa.string()),
        ("source", pa.string()),
        ("extra", pa.string()),
    ]
)
_BATCH = 10_000
_UNFIT = (pa.ArrowException, TypeError, ValueError, OverflowError)
_COLUMNS = {"id": "", "level": -1, "difficulty": float("nan"), "source": ""}


class ArrowProblems:
    """A `ProblemSet` on an Arrow table, or on some of its rows.

    ``fingerprint`` is a hash of the content: the same problems in the same order have the same one, wherever they
    came from. ``origin``: the repository and commit that they came from, where a loader knows them.
    """

    origin: str | None = None

    def __init__(self, table: pa.Table, *, name: str, fingerprint: str, rows: np.ndarray | None = None) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self._table = table
        self._rows = rows
        self._batches = table.to_batches()
        self._ends = np.cumsum([batch.num_rows for batch in self._batches])

    @classmethod
    def from_problems(cls, problems: Iterable[Problem], *, name: str) -> ArrowProblems:
        """Problems held in memory: for small sets, and for tests. Raises ValueError for a value of another type."""
        digest = hashlib.blake2b(digest_size=8)
        batches = list(_record_batches(problems, digest))
        return cls(pa.Table.from_batches(batches, _SCHEMA), name=name, fingerprint=digest.hexdigest())

    @classmethod
    def from_file(cls, path: Path, *, name: str) -> ArrowProblems:
        """Problems of a file that `write_problems` wrote."""
        table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
        return cls(table, name=name, fingerprint=path.with_suffix(".fingerprint").read_text())

    def __len__(self) -> int:
        return self._table.num_rows if self._rows is None else len(self._rows)

    def __getitem__(self, row: int) -> Problem:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {self.name}, which has {len(self)} problems")
        row = int(row) % len(self)
        row = row if self._rows is None else int(self._rows[row])
        place = int(np.searchsorted(self._ends, row, side="right"))
        batch = self._batches[place]
        row -= int(self._ends[place]) - batch.num_rows
        return _problem(*(column[row].as_py() for column in batch.columns))

    def __iter__(self) -> Iterator[Problem]:
        return (self[row] for row in range(len(self)))

    def column(self, name: str) -> np.ndarray | None:
        """``[N]`` values of ``id``, ``level``, ``difficulty`` or ``source``; see `gainrl.types.ProblemSet`."""
        if name not in _COLUMNS:
            raise ValueError(f"{name!r} is not a column of a problem set; use one of {', '.join(_COLUMNS)}")
        values = self.arrow(name)
        if values.null_count == len(values):
            return None
        return values.fill_null(_COLUMNS[name]).to_numpy()

    def arrow(self, name: str) -> pa.ChunkedArray:
        """A whole column, texts included, as Arrow sees it; a copy where this is a selection of rows."""
        values = self._table.column(name)
        return values if self._rows is None else values.take(pa.array(self._rows))

    def batches(self, name: str) -> Iterator[pa.Array]:
        """The same column piece by piece, so that checks of a million texts hold only a few of them at a time."""
        values = self._table.column(name)
        if self._rows is None:
            yield from values.chunks
            return
        for start in range(0, len(self._rows), _BATCH):
            yield values.take(pa.array(self._rows[start : start + _BATCH])).combine_chunks()

    def select(self, rows: np.ndarray) -> ArrowProblems:
        """The problems at ``rows`` (``[M]`` ints), in that order, without copying a text."""
        rows = np.asarray(rows, np.int64)
        inner = rows if self._rows is None else self._rows[rows]
        digest = hashlib.blake2b(self.fingerprint.encode() + rows.tobytes(), digest_size=8)
        selected = ArrowProblems(self._table, name=self.name, fingerprint=digest.hexdigest(), rows=inner)
        selected.origin = self.origin
        return selected


def joined(parts: Mapping[str, ArrowProblems], *, name: str) -> ArrowProblems:
    """The problems of several sets behind each other, without copying a text.

    The id of a problem gets the name of its set in front (``easy/17``) and its source behind (``gsm8k/train/easy``).
    """
    tables, rows, start = [], [], 0
    for label, part in parts.items():
        table = part._table
        ids = pc.binary_join_element_wise(f"{label}/", table.column("id"), "")
        sources = pc.binary_join_element_wise(pc.fill_null(table.column("source"), ""), label, "/")
        for column, values in (("id", ids), ("source", sources)):
            place = table.schema.get_field_index(column)
            table = table.set_column(place, _SCHEMA.field(column), values.cast(pa.string()))
        tables.append(table)
        rows.append(start + (np.arange(len(part)) if part._rows is None else part._rows))
        start += table.num_rows
    digest = hashlib.blake2b(json.dumps([[k, part.fingerprint] for k, part in parts.items()]).encode(), digest_size=8)
    return ArrowProblems(pa.concat_tables(tables), name=name, fingerprint=digest.hexdigest(), rows=np.concatenate(rows))


def write_problems(problems: Iterable[Problem], path: Path) -> None:
    """Writes problems to an Arrow file in one pass; a reader never sees half of it."""
    digest = hashlib.blake2b(digest_size=8)
    # Another process may be reading what a third one wrote: both files appear whole, the problems last.
    with whole_file(path, contested=True) as draft:
        with open(draft, "wb") as file, pa.ipc.new_stream(file, _SCHEMA) as writer:
            for batch in _record_batches(problems, digest):
                writer.write_batch(batch)
        with whole_file(path.with_suffix(".fingerprint"), contested=True) as label:
            label.write_text(digest.hexdigest())


def cached_problems(
    build: Callable[[], Iterable[Problem]], *, name: str, key: Iterable[Any], cache_dir: str | Path | None
) -> ArrowProblems:
    """The problems that ``build`` yields, built once for each ``key`` and memory-mapped ever after.

    ``cache_dir`` defaults to a folder beside the cache of the datasets library.
    """
    folder = Path(cache_dir) if cache_dir else default_cache()
    text = json.dumps([name, _code_digest(), *key], sort_keys=True, default=str)
    path = folder / f"{name}-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}.arrow"
    if not path.exists():
        write_problems(build(), path)
    return ArrowProblems.from_file(path, name=name)


def default_cache() -> Path:
    return Path(config.HF_DATASETS_CACHE) / "gainrl"


def _code_digest() -> str:
    """Changes with the code of the loaders, so that a corrected field mapping never meets an old cache."""
    digest = hashlib.blake2b(digest_size=8)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _record_batches(problems: Iterable[Problem], digest: Any) -> Iterator[pa.RecordBatch]:
    remaining = iter(problems)
    while rows := [_row(problem) for problem in islice(remaining, _BATCH)]:
        try:
            columns = [
                pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), _SCHEMA, strict=True)
            ]
        except _UNFIT as fault:
            raise ValueError(_misfit(rows)) from fault
        digest.update(json.dumps(rows, ensure_ascii=True).encode())
        yield pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)


def _misfit(rows: list[tuple[Any, ...]]) -> str:
    """Which field of which problem has a value that its column cannot hold."""
    for row in rows:
        for value, field in zip(row, _SCHEMA, strict=True):
            try:
                pa.array([value], field.type)
            except _UNFIT as fault:
                return f"problem {row[0]!r} cannot be stored: its {field.name} is {repr(value)[:60]} ({fault})"
    raise AssertionError("every value fits")


def _row(problem: Problem) -> tuple[Any, ...]:
    try:
        extra = json.dumps(dict(problem.extra), ensure_ascii=False) if problem.extra else None
    except (TypeError, ValueError) as fault:
        raise ValueError(
            f"problem {problem.id!r} cannot be stored: its extra must be what JSON can write ({fault})"
        ) from None
    return (
        problem.id,
        problem.question,
        problem.reference_answer,
        problem.level,
        problem.difficulty,
        problem.solution,
        problem.source,
        extra,
    )


def _problem(*values: Any) -> Problem:
    row = dict(zip(_SCHEMA.names, values, strict=True))
    return Problem(**{**row, "extra": json.loads(row["extra"]) if row["extra"] else {}})
