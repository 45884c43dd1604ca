"""The progress of a sweep in one line, from the files of its jobs: after each job, and for ``--watch``."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from gainrl.report.blocks import duration
from gainrl.report.plan import PLAN, read_plan
from gainrl.report.reader import Run, read_run

_LONGEST_ARM = 40


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts of jobs; ``best``: highest objective and its job; ``seconds_left``: None while nothing tells.

    ``failed`` counts refused jobs too; ``interrupted`` jobs go on when the sweep is run again.
    """

    total: int
    finished: int
    running: int
    failed: int
    best: tuple[float, str] | None
    seconds_left: float | None
    interrupted: int = 0

    @property
    def over(self) -> bool:
        return self.finished + self.failed + self.interrupted >= self.total


def sweep_progress(root: Path) -> Progress:
    """Reads a sweep's plan and the records of its jobs. Raises ValueError where there is neither.

    What is left is the number of jobs times the median of those that have finished, or of what the running ones are
    heading for, divided by the number of jobs that run at once.
    """
    plan = read_plan(root / PLAN)
    folders = {path.parent.resolve() for path in root.glob("*/s*/record.json")}
    if plan is not None and plan.jobs:  # the directory may hold the jobs of an earlier command as well
        planned = {folder.resolve() for _, folder in plan.jobs}
        folders = {folder for folder in folders if folder in planned}
    if plan is None and not folders:
        raise ValueError(f"{root} holds no sweep: give the directory that holds {PLAN}, such as runs/sweeps/curricula")
    records = {folder: _record(folder) for folder in sorted(folders)}
    status = {folder: str(record.get("status")) for folder, record in records.items()}
    refused = {Path(text).resolve() for text in announced_faults(root)} - {
        folder for folder, what in status.items() if what == "failed"
    }
    status |= dict.fromkeys(refused, "failed")
    finished = [folder for folder, what in status.items() if what == "finished"]
    running = [read_run(folder) for folder, what in status.items() if what == "running"]
    scores = [
        (float(records[folder]["objective"]), str(folder.relative_to(root.resolve())))
        for folder in finished
        if records[folder].get("objective") is not None
    ]
    interrupted = sum(what == "interrupted" for what in status.values())
    total = max(plan.number if plan else 0, len(status))
    waiting = total - len(status)
    each = [float(records[folder]["wall_seconds"]) for folder in finished if records[folder].get("wall_seconds")]
    return Progress(
        total=total,
        finished=len(finished),
        running=len(running),
        failed=len(status) - len(finished) - len(running) - interrupted,
        best=max(scores, default=None),
        seconds_left=_left(each, [_state(run) for run in running], waiting),
        interrupted=interrupted,
    )


def _left(each: list[float], running: list[tuple[float, float]], waiting: int) -> float | None:
    heading_for = [seconds / share for share, seconds in running if share > 0]
    if not (each or heading_for):
        return 0.0 if not running and waiting <= 0 else None
    one = median(each or heading_for)
    return one * (max(waiting, 0) + sum(1 - share for share, _ in running)) / max(len(running), 1)


def _state(run: Run) -> tuple[float, float]:
    """Share of the steps that a run has made, and the seconds that they took."""
    steps = (run.config.get("schedule") or {}).get("steps")
    seconds = run.columns.get("wall_seconds")
    if not steps or seconds is None or not len(seconds):
        return 0.0, 0.0
    return min(run.step / steps, 1.0), float(seconds[-1])


def _record(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "record.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def progress_line(progress: Progress) -> str:
    """``12/60 jobs done, 2 running, 1 failed; best 0.5123 (baseline-gain_rl/s3); about 1.4 h left``."""
    parts = [f"{progress.finished}/{progress.total} jobs done"]
    parts += [f"{progress.running} running"] if progress.running else []
    parts += [f"{progress.failed} failed"] if progress.failed else []
    parts += [f"{progress.interrupted} interrupted"] if progress.interrupted else []
    line = ", ".join(parts)
    if progress.best is not None:
        score, job = progress.best
        arm, _, seed = job.rpartition("/")
        line += f"; best {score:.4f} ({arm if len(arm) <= _LONGEST_ARM else arm[: _LONGEST_ARM - 1] + '…'}/{seed})"
    if not progress.over and progress.seconds_left is not None:
        line += f"; about {duration(progress.seconds_left)} left"
    return line


def watch(root: Path, *, every: float = 5.0, wait: Callable[[float], None] = time.sleep, out: Any = None) -> Progress:
    """Keeps one line on the terminal until every job has ended; in a file, one line per change. Returns the last."""
    out = out or sys.stdout
    before = ""
    while True:
        progress = sweep_progress(root)
        line = progress_line(progress)
        if out.isatty():
            out.write(f"\r\x1b[2K{line[: shutil.get_terminal_size().columns - 1]}")  # a second line would stay
        elif line != before:
            out.write(f"{line}\n")
        out.flush()
        if progress.over:
            out.write("\n" if out.isatty() else "")
            return progress
        before = line
        wait(every)


def announced_faults(root: Path) -> dict[str, str]:
    """Directories of jobs that failed or were refused, with the reasons, in the sweep under way in a directory."""
    listings = sorted(root.glob(".jobs-*"), key=lambda path: path.stat().st_mtime)  # a killed sweep leaves its own
    found: dict[str, str] = {}
    for file in listings[-1].glob("[!.]*") if listings else ():
        with suppress(OSError, json.JSONDecodeError):  # the sweep ends, or a file is being written
            folder, fault = json.loads(file.read_text())
            found |= {folder: fault} if fault else {}
    return found
