"""Published data sets: the same problems from a hub or from a folder of ``<name>.jsonl.gz`` files.

A file of the folder holds one record a line: ``id``, ``problem``, ``answer`` (or ``tests``), ``difficulty``,
``source``, optionally ``solution``; whatever else a record has goes to `Problem.extra`. A hub row is first brought
into that form by the function of its data set, so that both ways meet in `problem_of`.
"""

from __future__ import annotations

import functools
import hashlib
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from datasets import Dataset, load_dataset
from datasets.exceptions import DatasetNotFoundError

from gainrl.datasets import fields
from gainrl.datasets.arrow import ArrowProblems, cached_problems, default_cache
from gainrl.datasets.json_lines import Line, Record, numbered_lines
from gainrl.datasets.splits import DataSplits
from gainrl.types import Problem

Repository: TypeAlias = tuple[str, str | None]
"""A hub id, or a folder laid out like one, and its revision: a commit, a tag or a branch."""

_SHA = r"[0-9a-f]{40}"
_COMMIT = re.compile(rf"[@/]({_SHA})(?:/|$)")
_OWN_FIELDS = ("id", "problem", "answer", "difficulty", "source", "solution")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """One split of a published data set.

    ``name`` is the file in a data folder, without ``.jsonl.gz``. ``config`` and ``split`` say where the hub has it,
    ``records`` brings the hub's rows into the form of that file, None where no hub has them. ``leveled`` sets have
    integer difficulty classes. ``folder_only`` are fields that the hub lacks and that are left out of a folder's
    records, so that either way asks and judges the same.
    """

    name: str
    split: str
    records: Callable[[Iterable[Mapping[str, Any]]], Iterable[Record]] | None
    config: str | None = None
    leveled: bool = False
    folder_only: tuple[str, ...] = ()
    identity: Callable[[Record], str] = lambda record: record["id"]
    question: Callable[[Record], str] = lambda record: record["problem"]


class Loader(Protocol):
    """What ``dataset=<name>`` calls: its parameters are the keys of the YAML file."""

    def __call__(
        self,
        *,
        data_dir: str | None = None,
        hub: str = ...,
        revision: str | None = ...,
        cache_dir: str | None = None,
        held_out_only: bool = ...,
    ) -> DataSplits: ...


def published(
    *,
    hub: str,
    revision: str,
    held_out: PublishedFile,
    train: PublishedFile | None = None,
    held_out_only: bool = False,
) -> Loader:
    """The loader of a data set whose splits share one repository on the hub.

    ``revision``: its commit, so that the rows and their order are those of today; for a branch `hub_rows` warns.
    ``held_out_only``, the default: an
    evaluation set leaves its training split alone.
    """
    repository, commit, only = hub, revision, held_out_only

    def load(
        *,
        data_dir: str | None = None,
        hub: str = repository,
        revision: str | None = commit,
        cache_dir: str | None = None,
        held_out_only: bool = only,
    ) -> DataSplits:
        return load_splits(
            None if held_out_only else train,
            held_out,
            train_hub=(hub, revision),
            hub=(hub, revision),
            data_dir=data_dir,
            cache_dir=cache_dir,
        )

    return load


def load_splits(
    train: PublishedFile | None,
    held_out: PublishedFile,
    *,
    train_hub: Repository,
    hub: Repository,
    data_dir: str | None,
    cache_dir: str | None,
) -> DataSplits:
    """Both splits, each from a repository of its own; ``train`` is None where only the held-out part is wanted."""
    pool = None
    if train is not None:
        pool = load_published(train, hub=train_hub, data_dir=data_dir, cache_dir=cache_dir)
    return DataSplits(train=pool, held_out=load_published(held_out, hub=hub, data_dir=data_dir, cache_dir=cache_dir))


def load_published(
    file: PublishedFile, *, hub: Repository, data_dir: str | None, cache_dir: str | None
) -> ArrowProblems:
    """The problems of one split, from ``data_dir`` if given, else from the hub (an id, or a folder laid out like it).

    Raises ValueError if the file is missing or the hub cannot be reached, with what to download and where to put it.
    """
    if data_dir is not None:
        path = data_file(data_dir, file.name)
        key = [hashlib.sha256(path.read_bytes()).hexdigest()]
        return cached_problems(
            lambda: (problem_of(record, file, line) for line, record in numbered_lines(path)),
            name=file.name,
            key=key,
            cache_dir=cache_dir,
        )
    to_records = file.records
    if to_records is None:
        raise ValueError(
            f"{file.name} is on no hub in this form; give data_dir=<folder that holds {file.name}.jsonl.gz>"
        )
    rows, content = hub_rows(hub, file.config, file.split, cache_dir)
    problems = cached_problems(
        lambda: (
            problem_of(record, file, Line(hub[0], number, "row"))
            for number, record in enumerate(to_records(rows), start=1)
        ),
        name=file.name,
        key=[content],
        cache_dir=cache_dir,
    )
    problems.origin = origin_of(hub, rows)
    return problems


def data_file(data_dir: str, name: str) -> Path:
    for suffix in (".jsonl.gz", ".jsonl"):
        path = Path(data_dir).expanduser() / f"{name}{suffix}"
        if path.is_file():
            return path
    raise ValueError(
        f"data_dir={data_dir} holds no {name}.jsonl.gz; put the file there, or use data_dir=null to load from the hub"
    )


def hub_rows(repository: Repository, config: str | None, split: str, cache_dir: str | None) -> tuple[Dataset, str]:
    """A split as the datasets library loads it, and a key that names its content.

    Warns, once for each repository, where the revision may come to hold other rows. Raises ValueError with what to type
    where the split cannot be had.
    """
    hub, revision = repository
    cache = Path(cache_dir or default_cache())
    origin = hub
    if Path(hub).is_dir():
        revision = None  # a folder is what it is
        # The library's own cache tells two folders of the same name apart by nothing: they would be mixed up.
        files = sorted(path for path in Path(hub).resolve().rglob("*") if path.is_file())
        stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        origin = hashlib.blake2b(repr(stamps).encode(), digest_size=8).hexdigest()
    library_cache = str(cache / "hub" / origin) if origin != hub or cache_dir else None
    try:
        rows = load_dataset(hub, config, split=split, revision=revision, cache_dir=library_cache)
    except (DatasetNotFoundError, OSError) as fault:  # OSError: no network, offline mode, a missing file
        folder = hub.rsplit("/", 1)[-1]
        raise ValueError(
            f"the data set {hub!r} cannot be loaded here{f' at revision {revision}' if revision else ''} "
            f"({type(fault).__name__}). Where there is a network: hf download {hub} --repo-type dataset "
            f"{f'--revision {revision} ' if revision else ''}--local-dir {folder}; then give dataset.hub=<that "
            "folder>, or data_dir=<folder with .jsonl.gz files>. Another repository needs another dataset.revision=, "
            "such as main"
        ) from fault
    if origin == hub and not re.fullmatch(_SHA, revision or ""):
        _warn_of_branch(hub, revision or "main", str(origin_of(repository, rows)).rpartition("@")[2])
    return rows, f"{origin}/{config}/{split}/{rows._fingerprint}"


@functools.cache
def _warn_of_branch(hub: str, revision: str, commit: str) -> None:
    """``commit``: the one that was read, as far as it is known."""
    warnings.warn(
        f"{hub} is read at {revision!r}, which may hold other rows tomorrow; give a commit as its revision"
        + (f", such as today's {commit}" if commit != revision else ""),
        stacklevel=3,
    )


def origin_of(repository: Repository, rows: Dataset) -> str | None:
    """``repository@commit`` with the commit that the rows came from, or the revision where none is known.

    None for a folder.
    """
    hub, revision = repository
    if Path(hub).is_dir():
        return None
    places = [*(rows.info.download_checksums or {}), *(file["filename"] for file in rows.cache_files)]
    commits = [match[1] for place in places if (match := _COMMIT.search(str(place)))]
    return f"{hub}@{commits[0] if commits else revision or 'main'}"


def problem_of(record: Record, file: PublishedFile, line: Line) -> Problem:
    """The problem of a record; raises ValueError with its place for a field that is missing or of another type."""
    record = {key: value for key, value in record.items() if key not in file.folder_only}
    advice = f"give a file in the form of {file.name}.jsonl.gz, or your own with dataset=jsonl"
    for name in ("problem", "source"):
        if not isinstance(record.get(name), str):
            raise line.fault(f"no text under {name!r}; {advice}")
    try:
        identity, question = file.identity(record), file.question(record)
    except (KeyError, TypeError, AttributeError) as fault:
        raise line.fault(f"a field is missing or of another type ({type(fault).__name__}: {fault}); {advice}") from None
    difficulty = record.get("difficulty")
    return Problem(
        id=fields.text(identity, line, "id"),
        question=question,
        reference_answer=fields.text(record.get("answer"), line, "answer", advice),
        level=fields.level(difficulty, line, "difficulty") if file.leveled else None,
        difficulty=fields.difficulty(difficulty, line, "difficulty"),
        solution=fields.plain_text(record.get("solution"), line, "solution"),
        source=record["source"],
        extra={key: value for key, value in record.items() if key not in _OWN_FIELDS},
    )
