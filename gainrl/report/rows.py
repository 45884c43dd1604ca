"""Runs as one CSV file, a line per evaluation: what a report needs, small enough to commit beside its conclusions."""

from __future__ import annotations

import base64
import csv
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gainrl.report.caveats import evaluation_set, planned_budget
from gainrl.report.reader import AXES, BASE_KEYS, Run, number_in

_RUN = ("experiment", "arm", "base", "seed", "status", "commit", "planned", "evaluation_set")
_COLUMNS = (
    "step",
    *AXES,
    "screening_rollouts",
    "informative_groups",
    "selection/distinct_prompts",
    "curriculum/center_fraction",
)


def write_rows(runs: Sequence[Run], path: Path) -> int:
    """Writes the evaluations of all runs that have any, and returns how many lines.

    ``arm``: the overrides that make it, quoted as for a shell. ``informative_groups``: mean over the steps since the
    line before. ``verdicts``: a bit per held-out problem, as ``number:base64``.
    """
    names = sorted({name for run in runs for name in run.columns if name.startswith("eval/")})
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_RUN, *_COLUMNS, *names, "verdicts"])
        count = 0
        for run in sorted(runs, key=lambda run: (run.experiment, run.arm, run.base, run.seed)):
            for row in _evaluated(run):
                writer.writerow([*_identity(run), *_values(run, row, names), _packed(run, row)])
                count += 1
    return count


def _evaluated(run: Run) -> np.ndarray:
    scored = [~np.isnan(values) for name, values in run.columns.items() if name.startswith("eval/")]
    return np.flatnonzero(np.any(scored, axis=0)) if scored else np.empty(0, int)


def _identity(run: Run) -> list[str]:
    free = {"seed", "experiment", "sweep", *BASE_KEYS}
    typed = [text for text in run.overrides or () if text.lstrip("+~").partition("=")[0] not in free]
    arm = shlex.join(text for text in typed if run.decides_numbers(text.lstrip("+~").partition("=")[0]))
    commit = str(run.record.get("git_commit") or "")[:12]
    return [
        run.experiment,
        arm or run.arm,
        run.base,
        str(run.seed),
        run.status,
        commit,
        planned_budget(run),
        evaluation_set(run),
    ]


def _values(run: Run, row: int, names: Sequence[str]) -> list[str]:
    cells = []
    for name in (*_COLUMNS, *names):
        values = run.columns.get(name)
        if values is None:
            cells.append("")
            continue
        value = float(values[row])
        if name == "informative_groups":
            before = _evaluated(run)
            since = before[before < row].max(initial=-1) + 1
            stretch = values[since : row + 1]
            value = float(np.nanmean(stretch)) if not np.isnan(stretch).all() else np.nan
        cells.append("" if np.isnan(value) else f"{value:.10g}")
    return cells


def _packed(run: Run, row: int) -> str:
    verdicts = run.verdicts.get(int(run.columns["step"][row])) if "step" in run.columns else None
    if verdicts is None:
        return ""
    return f"{len(verdicts)}:{base64.b64encode(np.packbits(verdicts).tobytes()).decode()}"


def read_rows(path: Path) -> list[Run]:
    """The runs of a file that `write_rows` wrote. Raises ValueError, with the missing columns, for another file."""
    with open(path, newline="") as file:
        lines = list(csv.DictReader(file))
    missing = {"arm", "seed", "step"} - set(lines[0] if lines else ())
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}: give a file of gainrl-report --rows")
    runs: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for line in lines:
        runs.setdefault(tuple(line.get(name) or "" for name in _RUN), []).append(line)
    return [_run(path, key, rows) for key, rows in runs.items()]


def _run(path: Path, key: tuple[str, ...], rows: list[dict[str, str]]) -> Run:
    known = dict(zip(_RUN, key, strict=True))
    names = [name for name in rows[0] if name not in _RUN and name != "verdicts"]
    columns = {name: np.array([number_in(row[name]) for row in rows]) for name in names}
    typed = shlex.split(known["arm"])
    return Run(
        source=f"{path}: {known['experiment']} {known['arm']} {known['base']} {known['seed']}",
        arm=known["arm"],
        seed=int(known["seed"]),
        status=known["status"] or "finished",
        task=known["experiment"],
        experiment=known["experiment"],
        base=known["base"] or "0",
        overrides=tuple(typed) if all("=" in text for text in typed) else None,
        record={"git_commit": known["commit"]} if known["commit"] else {},
        columns={name: values for name, values in columns.items() if not np.isnan(values).all()},
        verdicts={int(float(row["step"])): _unpacked(row["verdicts"]) for row in rows if row.get("verdicts")},
        facts={name: known[name] for name in ("planned", "evaluation_set") if known[name]},
    )


def _unpacked(text: str) -> np.ndarray:
    count, _, packed = text.partition(":")
    return np.unpackbits(np.frombuffer(base64.b64decode(packed), np.uint8))[: int(count)].astype(bool)
