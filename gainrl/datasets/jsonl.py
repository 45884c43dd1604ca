"""A user's own problems in JSON Lines, with the fields under any name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gainrl.datasets import fields
from gainrl.datasets.arrow import ArrowProblems, cached_problems
from gainrl.datasets.json_lines import existing_file, numbered_lines
from gainrl.datasets.splits import DataSplits
from gainrl.functional.streams import generator
from gainrl.types import Problem

_ANSWER = "give the final answer as one text or number, or name another field with dataset.answer=<field>"


def jsonl(
    *,
    train: str | None = None,
    held_out: str | None = None,
    question: str = "problem",
    answer: str | None = "answer",
    id: str | None = "id",
    level: str | None = "level",
    difficulty: str | None = "difficulty",
    solution: str | None = "solution",
    source: str | None = "source",
    held_out_size: int = 0,
    split_seed: int = 0,
    cache_dir: str | None = None,
    held_out_only: bool = False,
) -> DataSplits:
    """Problems of JSON Lines files, gzip or not, whose fields have the names given.

    ``train``, ``held_out``: paths; without a ``held_out`` file, ``held_out_size`` problems drawn with ``split_seed``
    leave the training file. ``answer=null`` is for rewards that need no reference answer. A field that a record
    lacks is missing, except the question; a record without id has its line's place for one. Fields not named here
    go to `Problem.extra`. Raises ValueError for a missing file, a file that cannot be read (`json_lines`), a field of
    another type than it has to have (`fields`), and a question or answer that no record has.
    """
    if train is None and held_out is None:
        raise ValueError(
            "no file is given; use dataset.train=<file.jsonl> and, to evaluate, dataset.held_out=<file.jsonl>"
        )
    if held_out is not None and held_out_size:
        raise ValueError(
            f"held_out={held_out} and held_out_size={held_out_size} contradict; give the file or the number of problems"
        )
    if train is not None and held_out == train and not held_out_only:
        raise ValueError(
            f"dataset.train and dataset.held_out are one file, {train}, and problems that are evaluated do not train; "
            "type dataset.held_out_size=100 in place of dataset.held_out, or give another file"
        )
    names = {"question": question, "answer": answer, "id": id, "level": level}
    names |= {"difficulty": difficulty, "solution": solution, "source": source}

    def load(file: str) -> ArrowProblems:
        path = existing_file(file)
        name = path.name.removesuffix(".gz").removesuffix(".jsonl")
        with path.open("rb") as content:
            key = [hashlib.file_digest(content, "sha256").hexdigest(), names]
        return cached_problems(lambda: _problems(path, name, names), name=name, key=key, cache_dir=cache_dir)

    if held_out is not None:
        return DataSplits(train=load(train) if train and not held_out_only else None, held_out=load(held_out))
    assert train is not None
    problems = load(train)
    if not held_out_size:
        return DataSplits(train=None if held_out_only else problems, held_out=None)
    if not 0 < held_out_size < len(problems):
        raise ValueError(
            f"dataset.held_out_size={held_out_size} of the {len(problems)} problems of {train} leave none to train; "
            f"type dataset.held_out_size={max(1, len(problems) // 5)}"
        )
    order = generator(split_seed, "held_out").permutation(len(problems))
    rest = None if held_out_only else problems.select(np.sort(order[held_out_size:]))
    return DataSplits(train=rest, held_out=problems.select(np.sort(order[:held_out_size])))


def _problems(path: Path, name: str, names: dict[str, str | None]) -> Iterator[Problem]:
    used = {field for field in names.values() if field}
    answered = False
    for index, (line, record) in enumerate(numbered_lines(path)):
        values = {key: record.get(field) if field else None for key, field in names.items()}
        if not isinstance(values["question"], str):
            raise line.fault(
                f"no text under {names['question']!r}; its fields are {', '.join(map(repr, record))}: give the right "
                "one with dataset.question=<field>"
            )
        known = (values["answer"], record.get("tests"), record.get("input_output"))  # programs are judged by tests
        answered = answered or any(value is not None for value in known)
        yield Problem(
            id=fields.text(values["id"], line, names["id"]) or f"{name}-{index:07d}",
            question=values["question"],
            reference_answer=fields.text(values["answer"], line, names["answer"], _ANSWER),
            level=fields.level(values["level"], line, names["level"]),
            difficulty=fields.difficulty(values["difficulty"], line, names["difficulty"]),
            solution=fields.plain_text(values["solution"], line, names["solution"]),
            source=fields.text(values["source"], line, names["source"]) or name,
            extra={key: value for key, value in record.items() if key not in used},
        )
    if names["answer"] and not answered:
        raise ValueError(
            f"no problem of {path} has an answer under {names['answer']!r}; give the right field with "
            "dataset.answer=<field>, or dataset.answer=null if your reward does not need it"
        )
