"""The end of a sweep: a table of its jobs, and an exit code that says whether all of them succeeded."""

from __future__ import annotations

import json
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gainrl.app.identity import RunRecord

_TOKEN = "GAINRL_SWEEP"
_failed: list[Path] = []


def announce_job(folder: Path, *, fault: str | None = None) -> None:
    """Called by every job of a sweep when it begins, and once more with the reason if it fails.

    The closing table thus knows its jobs whichever launcher ran them, and a job that was refused is not taken for the
    finished run that its directory holds.
    """
    listing = os.environ.get(_TOKEN)
    if listing:
        with open(listing, "a") as file:
            file.write(json.dumps([str(folder), fault]) + "\n")


def announced_faults(root: Path) -> dict[str, str]:
    """Directories of jobs that failed or were refused, with the reasons, in the sweep under way in a directory."""
    listings = sorted(root.glob(".jobs-*"), key=lambda path: path.stat().st_mtime)  # a killed sweep leaves its own
    found: dict[str, str] = {}
    for line in listings[-1].read_text().splitlines() if listings else ():
        with suppress(json.JSONDecodeError):  # a line that is being written
            folder, fault = json.loads(line)
            found |= {folder: fault} if fault else {}
    return found


def failed_jobs() -> list[Path]:
    """Directories of the jobs of this process's sweep that did not finish."""
    return list(_failed)


class SweepTable(Callback):
    """A Hydra callback: lists the jobs of a multirun with status, objective, seconds and the reason of a failure."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self._listing = folder / f".jobs-{uuid.uuid4().hex}"
        self._listing.touch()
        os.environ[_TOKEN] = str(self._listing)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        root = Path(config.hydra.sweep.dir).absolute()
        jobs: dict[str, str | None] = {}
        for line in self._listing.read_text().splitlines():
            folder, fault = json.loads(line)
            jobs[folder] = fault or jobs.get(folder)
        self._listing.unlink()
        os.environ.pop(_TOKEN, None)
        table = Table(title=f"{len(jobs)} jobs in {root}", title_justify="left")
        for name in ("job", "status", "objective", "seconds", "reason"):
            table.add_column(name, justify="right" if name in ("objective", "seconds") else "left", overflow="fold")
        for folder, fault in jobs.items():
            job = Path(folder)
            record = {} if fault else RunRecord(job).content
            status = "failed" if fault else str(record.get("status", "no record"))
            if status != "finished":
                _failed.append(job)
            objective = record.get("objective")
            seconds = record.get("wall_seconds")
            table.add_row(
                os.path.relpath(job, root),
                f"[{'green' if status == 'finished' else 'red'}]{status}",
                "" if objective is None else f"{objective:.4f}",
                "" if seconds is None else f"{seconds:.0f}",
                escape(fault or ""),
            )
        Console().print(table)
