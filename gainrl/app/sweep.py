"""The end of a sweep: a table of its jobs, and an exit code that says whether all of them succeeded."""

from __future__ import annotations

import json
import os
import shutil
import sys
import uuid
from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gainrl.app.identity import RunRecord
from gainrl.app.launch import speaks
from gainrl.files import whole_file
from gainrl.report.plan import PLAN, read_plan
from gainrl.report.watch import progress_line, sweep_progress

_LISTING, _JOBS = "GAINRL_SWEEP", ".jobs-"
_ENDS = ("finished", "skipped", "interrupted", "failed", "not started")
_COLORS = {"finished": "green", "skipped": "green", "interrupted": "yellow"}
_failed: list[Path] = []
_open: list[SweepTable] = []


def announce_job(folder: Path, *, fault: str | None = None) -> None:
    """Called by every job of a sweep when it begins, and once more with the reason if it fails.

    The closing table thus knows its jobs whichever launcher ran them, and a job that was refused is not taken for the
    finished run that its directory holds. One file per job, since many machines may write at once.
    """
    listing = os.environ.get(_LISTING) or _listing_of(folder)
    if not listing or not Path(listing).is_dir():
        return
    name = blake2b(str(folder).encode(), digest_size=16).hexdigest()
    with whole_file(Path(listing) / name, contested=True) as draft:
        draft.write_text(json.dumps([str(folder), fault]))


def _listing_of(folder: Path) -> str | None:
    """The listing of the sweep around a job's directory, for machines that do not inherit the environment."""
    found = sorted(folder.parent.parent.glob(f"{_JOBS}*"), key=lambda path: path.stat().st_mtime)
    return str(found[-1]) if found else None


def failed_jobs() -> list[Path]:
    """Directories of unfinished jobs in this process's sweep."""
    return list(_failed)


def print_open_table() -> None:
    """Prints the table of a sweep that ended before Hydra closed it; does nothing otherwise."""
    for table in list(_open):
        table.close()


def _counted(counts: Mapping[str, int]) -> str:
    """``3 finished, 1 skipped (finished before), 1 interrupted, 2 not started``, and how it goes on."""
    notes = {"skipped": " (finished before)"}
    line = ", ".join(f"{counts[end]} {end}{notes.get(end, '')}" for end in _ENDS if counts.get(end)) or "no job began"
    if counts.get("interrupted") or counts.get("not started"):
        line += "; the same command goes on from there"
    if counts.get("failed"):
        line += "; retry_failed=true runs failed jobs again"
    return line


class SweepTable(Callback):
    """A Hydra callback: lists the jobs of a multirun with status, objective, seconds and the reason of a failure."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        self.root = Path(config.hydra.sweep.dir).absolute()
        self.listing = self.root / f"{_JOBS}{uuid.uuid4().hex}"
        self.listing.mkdir(parents=True)
        self.began = self.listing.stat().st_mtime  # by the clock of the file system, as the records are
        os.environ[_LISTING] = str(self.listing)
        _open.append(self)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        self.close()

    def close(self) -> None:
        """Prints the table and ends the listing."""
        _open.remove(self)
        jobs = self._jobs()
        shutil.rmtree(self.listing, ignore_errors=True)
        os.environ.pop(_LISTING, None)
        table = Table(title=f"{len(jobs)} job{'s' if len(jobs) != 1 else ''} in {self.root}", title_justify="left")
        for name in ("job", "status", "objective", "seconds", "reason"):
            table.add_column(name, justify="right" if name in ("objective", "seconds") else "left", overflow="fold")
        counts: Counter[str] = Counter()
        for job, fault in sorted(jobs.items()):
            record = RunRecord(job)
            content = {} if fault else record.content
            status = "failed" if fault else str(content.get("status", "no record"))
            if status != "finished":
                _failed.append(job)
            elif record.path.stat().st_mtime < self.began:
                status = "skipped"
            counts[status if status in _ENDS else "failed"] += 1
            objective, seconds = content.get("objective"), content.get("wall_seconds")
            table.add_row(
                os.path.relpath(job, self.root),
                f"[{_COLORS.get(status, 'red')}]{status}",
                "" if objective is None else f"{objective:.4f}",
                "" if seconds is None else f"{seconds:.0f}",
                escape(fault or str(content.get("fault") or "")),
            )
        counts["not started"] = max(0, self._planned() - len(jobs))
        console = Console(quiet=not speaks(), soft_wrap=not sys.stdout.isatty())
        console.print(table)
        console.print(_counted(counts), highlight=False)
        if counts["finished"] + counts["skipped"]:
            console.print(f"gainrl-report {os.path.relpath(self.root)}", style="dim", highlight=False)

    def _planned(self) -> int:
        """How many jobs the command asked for, according to its plan; 0 without a plan."""
        plan = read_plan(self.root / PLAN)
        return 0 if plan is None else plan.number

    def _jobs(self) -> dict[Path, str | None]:
        """Directories of the jobs that began, with the reason where one failed."""
        jobs: dict[Path, str | None] = {}
        for file in self.listing.glob("[!.]*"):
            folder, fault = json.loads(file.read_text())
            jobs[Path(folder)] = fault
        return jobs


class SweepProgress(Callback):
    """A Hydra callback: keeps the plan of a multirun beside its jobs, and prints how far it is after each of them."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / PLAN)  # some sweepers leave none

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if config.hydra.mode is not None and config.hydra.mode.name == "MULTIRUN":
            console = Console(soft_wrap=True)
            console.print(progress_line(sweep_progress(Path(config.hydra.sweep.dir))), style="bold", highlight=False)
