"""Runs as the report sees them, read from run directories: finished, running, failed, or never begun."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

AXES = {
    "prompts_seen": "prompts",
    "generated_tokens": "generated tokens",
    "updates": "optimizer steps",
    "wall_seconds": "wall time",
    "rollouts": "rollouts",
}
"""Columns that can serve as a budget, with the words used for them."""

_KEPT = re.compile(
    r"step|prompts_seen|rollouts|generated_tokens|updates|wall_seconds|accuracy|informative_groups|grad_norm|eval/.*"
    r"|selection/.*|curriculum/(center_fraction|target|level|progress|distinct_prompts|prompts_measured)"
)
# Settings that do not decide a run's numbers, for runs whose configuration does not list them.
_FREE = ("logger", "trainer", "records", "run", "data_dir", "sweep", "checkpoint", "resume", "faults", "retry_failed")
_SKIPPED = {"checkpoints", "policy", "signals", "wandb", ".git"}
_loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where libyaml was built in


def is_below(setting: str, paths: Iterable[str]) -> bool:
    """Whether a setting, as a dotted key, is one of ``paths`` or below one."""
    return any(setting == path or setting.startswith(f"{path}.") for path in paths)


@dataclass(slots=True)
class Run:
    """One job. ``columns``: name to float array ``[rows]``, NaN where a row has no value.

    ``experiment``: what was typed as such. ``task``: runs of different tasks are never paired; the experiment, unless
    experiments are the arms. ``base``: what training started from, by the seeds of the model and of its warm start.

    ``status`` comes from ``record.json``, or is ``not begun`` where that cannot be read. ``overrides``: the settings
    of the job's command line, None if unknown. ``verdicts``: for some steps, whether each held-out problem was
    right, ``[problems]`` bool. ``facts``: what a file of rows says in place of a configuration.
    """

    source: str
    arm: str
    seed: int
    status: str
    task: str = ""
    experiment: str = ""
    base: str = "0"
    fault: str = ""
    overrides: tuple[str, ...] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    verdicts: dict[int, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    written: float | None = None
    _evaluations: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    @property
    def finished(self) -> bool:
        return self.status == "finished"

    def decides_numbers(self, setting: str) -> bool:
        """Whether a setting, as a dotted key, is part of what the run is: not below any of its `identity_excludes`."""
        free = self.config.get("identity_excludes") or _FREE
        return not is_below(setting, [*free, "identity_excludes"])

    @property
    def step(self) -> int:
        steps = self.columns.get("step")
        return int(steps[-1]) if steps is not None and len(steps) else 0

    def evaluations(self, axis: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Budgets and scores at the rows that hold an evaluation."""
        if axis not in self.columns or metric not in self.columns:
            return np.empty(0), np.empty(0)
        if (axis, metric) not in self._evaluations:
            budgets, scores = self.columns[axis], self.columns[metric]
            measured = ~np.isnan(scores) & ~np.isnan(budgets)
            self._evaluations[axis, metric] = budgets[measured], scores[measured]
        return self._evaluations[axis, metric]


BASE_KEYS = ("model.seed", "model.warm_start.seed")
"""Settings that choose the base: what makes two runs start from different weights."""


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """Every run below the folders, in the order of their paths. Raises ValueError for a folder that does not exist."""
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(
                f"{folder} does not exist; give directories that hold runs, such as runs/sweeps/curricula, or a file "
                "that gainrl-report --rows wrote"
            )
        for job in _jobs(folder):
            found.setdefault(str(job.resolve()), job)
    return [read_run(job) for job in sorted(found.values())]


def _jobs(folder: Path) -> Iterator[Path]:
    for place, names, files in os.walk(folder, followlinks=True):
        if "record.json" in files:
            yield Path(place)
            names.clear()  # runs do not nest
        else:
            names[:] = sorted(name for name in names if name not in _SKIPPED)


def read_run(folder: Path) -> Run:
    """One run directory; a file that is missing or half written leaves its part empty."""
    record = _json(folder / "record.json")
    config = _yaml(folder / "config.yaml") or {}
    settings = config.get("run") or {}
    overrides = settings.get("overrides")
    named = re.fullmatch(r"s(-?\d+)", folder.name)
    seed = config.get("seed", int(named[1]) if named else 0)
    table = folder / "metrics.csv"
    status = str(record.get("status") or "not begun")
    return Run(
        source=str(folder),
        arm=str(settings.get("arm") or (folder.parent.name if named else folder.name)),
        seed=int(seed),
        status=status,
        task=str(settings.get("experiment") or ""),
        experiment=str(settings.get("experiment") or ""),
        base=base_of(config),
        fault=str(record.get("fault") or ("" if record else "record.json cannot be read")),
        overrides=tuple(map(str, overrides)) if isinstance(overrides, list) else None,
        config=config,
        record=record,
        columns=with_screening(read_columns(table), config) if table.exists() else {},
        verdicts=read_verdicts(folder / "evaluations.jsonl"),
        written=table.stat().st_mtime if table.exists() else None,
    )


def base_of(config: Mapping[str, Any]) -> str:
    """The name of a run's base: the seed of its model, and the seed of its warm start if it differs."""
    model = config.get("model") or {}
    warm_start = model.get("warm_start") or {}
    seed, other = model.get("seed", 0), warm_start.get("seed") if isinstance(warm_start, Mapping) else None
    return str(seed) if other in (None, 0, seed) else f"{seed}-{other}"


def read_verdicts(path: Path) -> dict[int, np.ndarray]:
    """Verdicts per held-out problem by step, from lines of ``{"step": 40, "verdicts": "0110..."}``."""
    found = {}
    if path.exists():
        for line in path.read_text().splitlines():
            with suppress(json.JSONDecodeError, KeyError):  # the last line may be cut short
                entry = json.loads(line)
                found[int(entry["step"])] = np.array([mark == "1" for mark in entry["verdicts"]])
    return found


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """The columns of ``metrics.csv`` that the report uses; a last line that was cut short is left out."""
    with open(path, newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        rows = [row for row in reader if len(row) == len(header)]
    chosen = [index for index, name in enumerate(header) if is_kept(name)]
    return {header[index]: np.array([number_in(row[index]) for row in rows]) for index in chosen}


def with_screening(columns: dict[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Charges ``rollouts`` with those that only measured candidates, as ``curriculum=oracle`` needs them.

    Their number is ``screening_rollouts``: prompts measured times completions per measurement. Their tokens are not
    recorded, so ``generated_tokens`` stays without them.
    """
    signal = config.get("signal") or {}
    measured = columns.get("curriculum/prompts_measured")
    if measured is None or "rollouts" not in columns or not str(signal.get("_target_")).endswith("PassRateSignal"):
        return columns
    screening = np.nan_to_num(measured) * float(signal["samples"])
    return columns | {"rollouts": columns["rollouts"] + screening, "screening_rollouts": screening}


def is_kept(name: str) -> bool:
    """Whether the report uses a column of that name."""
    return _KEPT.fullmatch(name) is not None


def part_columns(names: Iterable[str], prefix: str) -> list[str]:
    """The columns ``<prefix>/level_<k>`` by level, or else ``<prefix>/source_<family>`` by name."""
    known = list(names)
    for kind in ("level", "source"):
        if found := [name for name in known if name.startswith(f"{prefix}/{kind}_")]:
            return sorted(found, key=lambda name: (len(name) if kind == "level" else 0, name))
    return []


def part_name(column: str) -> str:
    """``3`` of ``.../level_3`` and ``caesar_cipher`` of ``.../source_caesar_cipher``."""
    return column.rsplit("/", 1)[1].partition("_")[2]


def number_in(text: str | None) -> float:
    """The number in a cell of a CSV file; NaN for an empty one."""
    if not text:
        return np.nan
    try:
        return float(text)
    except ValueError:
        return np.nan


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(), Loader=_loader)
    except (OSError, yaml.YAMLError):
        return None
