"""How long jobs will take: from finished runs of their arm, else from the first steps of one job."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.markup import escape

from gainrl.app.identity import RunRecord
from gainrl.app.planned import Job

TIMED_STEPS = 6
TIMED_SECONDS = 40.0  # for all timed runs of a command together, at most


class NotTimed(Exception):
    """There is no estimate for an arm; the text is the reason."""


def estimate(
    jobs: Sequence[Job],
    console: Console,
    *,
    every_arm: bool = False,
    extra: str | None = None,
    refused: str = "",
    seconds: float = TIMED_SECONDS,
    run: Callable[[Job, Path], Mapping[str, Any]] | None = None,
) -> dict[str, tuple[float | None, str]]:
    """Arm to seconds of one job (None if unknown) and where the number comes from.

    Arms without a finished run are timed, all of them with ``every_arm``, else one of them for all. ``extra``: the
    folder of ``--config-dir``. ``refused``: why the first job cannot run, which takes the place of timing it.
    ``seconds``: for all timed runs together. ``run`` trains a job for a few steps and returns its last row, by default
    in a process of its own; it raises NotTimed.
    """
    known: dict[str, tuple[float | None, str]] = {}
    for arm in dict.fromkeys(job.arm for job in jobs):
        done = [job.seconds for job in jobs if job.arm == arm and job.seconds] + _elsewhere(jobs, arm)
        if done:
            known[arm] = (median(done), f"{len(done)} finished run{'s' if len(done) > 1 else ''}")
    rest = [next(job for job in jobs if job.arm == arm) for arm in dict.fromkeys(job.arm for job in jobs)]
    rest = [job for job in rest if job.arm not in known]
    each = seconds / max(1, len(rest) if every_arm else 1)
    timed: tuple[float | None, str] | None = None
    if refused and rest and rest[0].arm == jobs[0].arm:
        known[rest.pop(0).arm] = (None, f"not timed, because {refused}")
    for job in rest:
        if timed is not None and not every_arm:
            known[job.arm] = (timed[0], "the arm timed above" if timed[0] is not None else timed[1])
            continue
        console.print(f"[dim]timing {escape(job.arm)}, for {each:.0f} s at most ...[/dim]", highlight=False)
        try:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                place = Path(folder) / "run"
                row = run(job, place) if run else run_shortly(job, place, seconds=each, extra=extra)
            timed = (scale(row, job), f"{float(row['step']):.0f} timed steps")
        except NotTimed as reason:
            timed = (None, f"not timed, because {reason}")
        known[job.arm] = timed
    return known


def _elsewhere(jobs: Sequence[Job], arm: str) -> list[float]:
    """Seconds of finished runs of the arm with other seeds, beside the directories of these jobs."""
    mine = {job.folder for job in jobs}
    found = []
    for parent in {job.folder.parent for job in jobs if job.arm == arm}:
        for folder in sorted(parent.glob("s*")) if parent.is_dir() else []:
            record = RunRecord(folder).content if folder not in mine else {}
            if record.get("status") == "finished" and record.get("wall_seconds"):
                found.append(float(record["wall_seconds"]))
    return found


def run_shortly(
    job: Job, folder: Path, *, seconds: float = TIMED_SECONDS, extra: str | None = None
) -> Mapping[str, Any]:
    """Trains a job for a few steps in a process of its own, and ends it when the time is over.

    Its last row, with ``startup`` seconds. Raises NotTimed if it made no step, with the reason.
    """
    kept = [text for text in job.overrides if not text.lstrip("+~").startswith(("sweep=", "logger=", "hydra"))]
    steps = min(TIMED_STEPS, job.steps)
    short = [f"schedule.steps={steps}", f"evaluation.every={steps}", "checkpoint.every_steps=1000000", "logger=none"]
    command = [sys.executable, "-m", "gainrl.app.train", *([] if extra is None else ["--config-dir", extra])]
    command += [*kept, *short, f"hydra.run.dir={folder}", "hydra.mode=RUN"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with the workers of its reward and its engine
        output, _ = process.communicate()
        last = _last_row(folder)
        if last is None:
            raise NotTimed(f"{seconds:.0f} s were not enough for its first step") from None
        return last
    last = _last_row(folder)
    if process.returncode or last is None:
        raise NotTimed(_reason(output))
    record = json.loads((folder / "record.json").read_text())
    phases = sum(float(value) for name, value in last.items() if name.startswith("seconds/") and value)
    return {**last, "startup": max(float(record["wall_seconds"]) - phases, 0.0)}


def _last_row(folder: Path) -> dict[str, Any] | None:
    """The last row of a step, None where none was made."""
    try:
        with open(folder / "metrics.csv", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("step") and float(row["step"]) > 0]
    except (OSError, ValueError):
        return None
    return dict(rows[-1]) if rows else None


def _reason(output: str) -> str:
    """Why a run failed, in one line of its output."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for heading in ("Cannot run: ", "Failed: "):
        for line in lines:
            if line.startswith(heading):
                return line.removeprefix(heading)
    return lines[-1] if lines else "it ended without a message"


def scale(row: Mapping[str, Any], job: Job) -> float:
    """Seconds of the whole job from a short run: start and signal once, evaluations and steps by their number."""
    phases = {
        name.split("/", 1)[1]: float(value) for name, value in row.items() if name.startswith("seconds/") and value
    }
    steps = float(row["step"])
    shown = 2 if steps >= min(TIMED_STEPS, job.steps) else 1  # before the first step, and after the last
    evaluation = phases.pop("evaluation", 0.0) / shown
    once = float(row.get("startup", 0.0)) + phases.pop("refresh", 0.0)
    return once + evaluation * job.evaluations + sum(phases.values()) / steps * job.steps
