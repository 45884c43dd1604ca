"""``gainrl-train ... --dry-run``: the jobs of a command, and the hours and memory that they would take.

Hours come from finished runs of the same arm, or from a short timed run if there are none yet.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gainrl.app.commandline.command import Command, checked_settings
from gainrl.app.commandline.flags import read_flags
from gainrl.app.errors import ConfigError, explain
from gainrl.app.planned import Job, composed, list_jobs, single_job
from gainrl.app.runtime import importing
from gainrl.app.timing import TIMED_SECONDS, estimate
from gainrl.report.blocks import duration

_SECONDS = 50.0  # for all of a preview, so that with its start it stays under a minute on a busy machine too
_TIMING = 20.0  # of those, left for a timed run whatever comes before it


def preview(command: Command, arguments: Sequence[str], console: Console | None = None) -> int:
    """Prints the jobs of a command line by arm, with hours, and the memory that the first of them needs.

    The exit code: 0, or 1 if they cannot be listed or the first would be refused because it needs too much memory.
    """
    console = console or Console()
    until = time.monotonic() + _SECONDS
    try:
        typed = read_flags(arguments, command.flags)
        settings = checked_settings(command, typed)
        extra = typed.flags.get("config_dir")
        sweeps = any(text.startswith("hydra.sweep.dir=") for text in settings) or typed.multirun
        jobs = list_jobs(settings, extra=extra) if sweeps or _is_sweep(settings) else single_job(settings, extra=extra)
    except ConfigError as fault:
        explain(fault, "Cannot list the jobs")
        return 1
    left = until - _TIMING - time.monotonic()
    fits, refused, table = _memory(jobs[0], extra, console, max(left, 1.0)) if jobs else (True, "", "")
    every_arm = "--time-every-arm" in typed.flags
    seconds = min(TIMED_SECONDS, max(until - time.monotonic(), 1.0))
    known = estimate(jobs, console, every_arm=every_arm, extra=extra, refused=refused, seconds=seconds)
    print_jobs(jobs, known, console)
    console.print(Text.from_ansi(table))
    return 0 if fits else 1


def _memory(job: Job, extra: str | None, console: Console, seconds: float) -> tuple[bool, str, str]:
    """The memory of one job, the first of a sweep: whether it fits, why the job would be refused, and the table.

    It builds what needs no weights, so a fault in the data shows here before anything is timed. There is no table if
    that takes longer than ``seconds``: a large file of one's own is read for the first time.
    """
    with importing():
        from gainrl.app.memory_table import print_memory

    with console.capture() as table:
        try:
            with at_most(seconds):
                fits = print_memory(composed(job, extra=extra), console, arm=job.arm)
        except Over:
            return True, "", f"memory: not computed, because the data could not be read in {seconds:.0f} s"
        except (ConfigError, ValueError) as fault:
            return True, str(fault), ""
    return fits, "", table.get().rstrip()


class Over(BaseException):
    """No library that is at work then may take it for an error of its own."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises Over in the main thread when the time is over, where the system has such an alarm."""

    def over(*given: object) -> None:
        raise Over

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _is_sweep(settings: Sequence[str]) -> bool:
    return any(text.startswith("sweep=") and text != "sweep=null" for text in settings)


def print_jobs(jobs: Sequence[Job], seconds: Mapping[str, tuple[float | None, str]], console: Console) -> None:
    """A table of arms, what is left in all, and where the runs go."""
    title = f"{len(jobs)} job{'s' if len(jobs) != 1 else ''}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("arm", "jobs", "finished", "to run", "one job", "in all", "from"):
        table.add_column(name, justify="left" if name in ("arm", "from") else "right", overflow="fold")
    sources = {source: f"[{number}]" for number, source in enumerate(_sources(seconds), start=1)}
    total, unknown = 0.0, 0
    for arm in dict.fromkeys(job.arm for job in jobs):
        mine = [job for job in jobs if job.arm == arm]
        left = sum(job.status != "finished" for job in mine)
        one, source = seconds[arm]
        cells = ("?", "?") if one is None else (duration(one), duration(left * one))
        total, unknown = total + left * (one or 0.0), unknown + (left if one is None else 0)
        counts = (str(len(mine)), str(len(mine) - left), str(left))
        table.add_row(escape(arm), *counts, *cells, escape(sources[source]))
    console.print(table)
    for source, mark in sources.items():
        console.print(f"{mark} {source}", style="dim", highlight=False, markup=False)
    left = sum(job.status != "finished" for job in jobs)
    summary = f"{left} of {len(jobs)} jobs to run"
    if unknown < left or not left:
        summary += f", about {duration(total)} one after the other"
        if left > 1:
            summary += f" ({duration(total / 2)} two at a time: hydra/launcher=joblib hydra.launcher.n_jobs=2)"
    if unknown:
        summary += f"; there is no estimate for {unknown} of them"
    console.print(summary, highlight=False)
    if jobs:
        console.print(
            f"directories: {jobs[0].folder}{' and so on' if len(jobs) > 1 else ''}", highlight=False, markup=False
        )
    for job in jobs:
        if job.status == "another run":
            console.print(f"[yellow]{job.folder} holds another run and will be refused[/yellow]", highlight=False)


def _sources(seconds: Mapping[str, tuple[float | None, str]]) -> list[str]:
    """Where the numbers come from, or why there are none, each once."""
    return list(dict.fromkeys(source for _, source in seconds.values()))
