"""Lists jobs that are missing, failed or still running."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gainrl.report.blocks import BadgeKind
from gainrl.report.plan import read_plan
from gainrl.report.reader import Run
from gainrl.report.sweep import Sweep


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that has no finished run."""

    arm: str
    seed: str
    status: str
    kind: BadgeKind
    detail: str
    folder: str


def open_jobs(
    sweeps: Sequence[Sweep],
    folders: Sequence[Path],
    *,
    known: Sequence[Run] = (),
    unscored: Sequence[Run] = (),
    now: float | None = None,
) -> list[OpenJob]:
    """Unfinished runs, jobs planned by a sweep's ``multirun.yaml`` without a directory, and seeds that an arm lacks.

    ``known``: all runs that were read, compared or not. ``unscored``: runs in blocks where nothing has a score.
    """
    jobs = []
    for sweep in sweeps:
        for arm in sweep.arms:
            runs = sorted((run for run in arm.runs if not run.finished), key=lambda run: (run.task, run.seed))
            jobs += [_open(_name(sweep, arm.label), run, now) for run in runs]
    jobs += [_open(run.arm, run, now) for run in unscored if not run.finished]
    planned = planned_but_absent(folders, [run for sweep in sweeps for run in sweep.all_runs()] + [*known])
    jobs += [
        OpenJob(
            ", ".join(text for text in job if not text.startswith(("seed=", "sweep="))),
            _seed(job),
            "missing",
            "missing",
            "planned by multirun.yaml, no directory",
            "",
        )
        for job in planned
    ]
    if not planned:
        jobs += [job for sweep in sweeps for job in _lacking(sweep)]
    return jobs


def _name(sweep: Sweep, label: str) -> str:
    return f"{label}, {sweep.block}" if sweep.block else label


def _open(name: str, run: Run, now: float | None) -> OpenJob:
    kind: BadgeKind = "running" if run.status == "running" else "failed"
    return OpenJob(name, str(run.seed), run.status, kind, _detail(run, now), run.source)


def _lacking(sweep: Sweep) -> list[OpenJob]:
    missing = []
    for task in sweep.tasks:
        union = set().union(*(arm.seeds(task) for arm in sweep.arms))
        several = len({base for base, _ in union}) > 1
        for arm in sweep.arms:
            for base, seed in sorted(union - arm.seeds(task)):
                detail = "other arms have this seed" + (f" of {task}" if len(sweep.tasks) > 1 else "")
                name = f"{base}/{seed}" if several else str(seed)
                missing.append(OpenJob(_name(sweep, arm.label), name, "missing", "missing", detail, ""))
    return missing


def _seed(job: Sequence[str]) -> str:
    return next((text.partition("=")[2] for text in job if text.startswith("seed=")), "")


def _detail(run: Run, now: float | None) -> str:
    parts = []
    planned = (run.config.get("schedule") or {}).get("steps")
    if run.columns:
        parts.append(f"step {run.step}" + (f" of {planned}" if planned else ""))
    if run.status == "running" and run.written is not None:
        minutes = ((time.time() if now is None else now) - run.written) / 60
        parts.append(f"last row {minutes:.0f} min ago" if minutes < 120 else f"last row {minutes / 60:.0f} h ago")
    if run.fault:
        parts.append(" ".join(run.fault.split())[:300])
    return "; ".join(parts)


def planned_but_absent(folders: Sequence[Path], runs: Iterable[Run]) -> list[list[str]]:
    """Overrides of the jobs of every ``multirun.yaml`` below the folders whose directories hold no run."""
    present = {Path(run.source).resolve() for run in runs}
    absent = []
    for path in sorted({path.resolve() for folder in folders for path in _plans(folder)}):
        plan = read_plan(path)
        absent += [list(job) for job, folder in (plan.jobs if plan else ()) if folder not in present]
    return absent


def _plans(folder: Path) -> list[Path]:
    found = []
    for place, names, files in os.walk(folder):
        if "multirun.yaml" in files:
            found.append(Path(place) / "multirun.yaml")
        if "record.json" in files:
            names.clear()
    return found
