"""DeepCoder-Preview: 24,000 programming problems (agentica-project), the paper's set for code; on the hub only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gainrl.datasets.arrow import ArrowProblems, cached_problems
from gainrl.datasets.published import Repository, hub_rows, origin_of
from gainrl.datasets.splits import DataSplits
from gainrl.types import Problem


def deepcoder(
    *,
    data_dir: str | None = None,
    hub: str = "agentica-org/DeepCoder-Preview-Dataset",
    revision: str | None = "177913a7bd43791646ef6a43645caa3c871ab3db",
    train_parts: Sequence[str] = ("primeintellect", "taco", "lcbv5"),
    held_out_parts: Sequence[str] = ("lcbv5",),
    cache_dir: str | None = None,
    held_out_only: bool = False,
) -> DataSplits:
    """The named parts of the training and of the test split.

    ``tests`` in `Problem.extra` is ``{"inputs": [...], "outputs": [...]}``, with ``entry_point`` beside it where a
    function is called and no program run. A problem without tests is left out. Raises ValueError if the hub cannot
    be reached, and for a ``data_dir``, which holds no file of DeepCoder.
    """
    if data_dir is not None:
        raise ValueError(
            f"data_dir={data_dir}: DeepCoder is read from the hub only, so that no folder is looked into. Add "
            "dataset.data_dir=null; evaluation sets still come from data_dir. Where the hub cannot be reached: "
            f"hf download {hub} --repo-type dataset --local-dir deepcoder, and dataset.hub=deepcoder"
        )
    repository = (hub, revision)
    train = None if held_out_only else _load(repository, train_parts, "train", cache_dir)
    return DataSplits(train=train, held_out=_load(repository, held_out_parts, "test", cache_dir))


def _load(hub: Repository, parts: Sequence[str], split: str, cache_dir: str | None) -> ArrowProblems:
    loaded = {part: hub_rows(hub, part, split, cache_dir) for part in parts}

    def problems() -> Iterator[Problem]:
        for part, (rows, _) in loaded.items():
            yield from _problems(rows, part=part, split=split)

    key = [origin for _, origin in loaded.values()]
    found = cached_problems(problems, name=f"deepcoder_{split}", key=key, cache_dir=cache_dir)
    found.origin = origin_of(hub, next(iter(loaded.values()))[0]) if loaded else None
    return found


def _problems(rows: Iterable[Mapping[str, Any]], *, part: str, split: str) -> Iterator[Problem]:
    for index, row in enumerate(rows):
        extra = normalised_tests(row["tests"], row.get("metadata"))
        if not extra["tests"]["inputs"]:
            continue
        starter = (row.get("starter_code") or "").strip("\n")
        start = f"\n\nStart from this code:\n```python\n{starter}\n```" if starter else ""
        yield Problem(
            id=f"deepcoder-{part}-{split}-{index:05d}",
            question=row["problem"].strip() + start,
            reference_answer="",
            source=f"deepcoder/{part}/{split}",
            extra=extra,
        )


def normalised_tests(tests: Any, metadata: Any = None) -> dict[str, Any]:
    """The tests of any part of DeepCoder as ``inputs`` and ``outputs``, and the function they call if they call one.

    The parts write them as a list of cases or as two lists, as objects or as JSON text, with the name of the
    function at the case (``fn_name``), in its metadata (``func_name``) or in the metadata of the problem.
    """
    tests, metadata = _parsed(tests), _parsed(metadata) or {}
    if isinstance(tests, Mapping):
        inputs, outputs = list(tests.get("inputs") or ()), list(tests.get("outputs") or ())
        name = tests.get("fn_name")
    else:
        cases = [case for case in tests or () if case.get("input") is not None]
        inputs, outputs = [case["input"] for case in cases], [case["output"] for case in cases]
        calls = [case for case in cases if case.get("type", case.get("testtype")) in ("function_call", "functional")]
        inner = _parsed(calls[0].get("metadata")) or metadata if calls else {}
        name = (calls[0].get("fn_name") or inner.get("func_name")) if calls else None
    extra: dict[str, Any] = {"tests": {"inputs": inputs, "outputs": outputs}}
    return {**extra, "entry_point": name} if name else extra


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value.strip() else value
