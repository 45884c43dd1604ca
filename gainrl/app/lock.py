"""One process at a time in a run directory.

The file ``.lock`` names its owner: host, process, and when that process began, so that another process with the same
number is not taken for it. An owner that is gone is recognised: on this host at once, on another host when it has not
renewed the file for five minutes, and at once if it was an earlier life of the same Slurm job.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gainrl.app.errors import RunRefused

RENEW_SECONDS = 30.0
STALE_SECONDS = 300.0


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Holds the lock of a run directory; raises RunRefused, naming the owner, if another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    mine = owner()
    with _guarded(path) as file:
        other = _read(file)
        if other is not None and alive(other, age=_age(path)):
            raise RunRefused(
                f"{folder} is in use by process {other['pid']} on {other['host']}. Wait for it or end it, or give "
                f"another directory with hydra.run.dir=... (if that process is gone for certain, delete {path})"
            )
        _write(file, json.dumps(mine))
    ended = threading.Event()
    renewal = threading.Thread(target=_renew, args=(path, ended.wait), daemon=True, name="run lock")
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        with _guarded(path) as file:
            if _read(file) == mine:
                _write(file, "")


def owner() -> dict[str, Any]:
    """This process, as the lock names it."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "began": process_start(pid),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def alive(other: dict[str, Any], *, age: float) -> bool:
    """Whether an owner still runs; ``age``: seconds since it last renewed its lock."""
    if other["host"] == socket.gethostname():
        began = process_start(int(other["pid"]))
        return began is not None and began == other["began"]
    same_job = other["slurm_job"] is not None and other["slurm_job"] == os.environ.get("SLURM_JOB_ID")
    return not same_job and age < STALE_SECONDS


def process_start(pid: int) -> str | None:
    """Something that tells a process from later ones with its number; None if it does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]  # state and start in clock ticks since boot: proc(5)
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "unknown"


@contextmanager
def _guarded(path: Path) -> Iterator[IO[str]]:
    """The lock file, open and reserved for the moment of a look or a change."""
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _read(file: IO[str]) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read())
        return content if {"host", "pid", "began", "slurm_job"} <= set(content) else None
    except (json.JSONDecodeError, TypeError):
        return None  # empty after a release, or torn while it was taken


def _write(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()
    os.fsync(file.fileno())


def _age(path: Path) -> float:
    """By the clock of the file system, which may be another machine's."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".now-") as now:
        return os.stat(now.name).st_mtime - path.stat().st_mtime


def _renew(path: Path, wait: Callable[[float], bool]) -> None:
    while not wait(RENEW_SECONDS):
        try:
            os.utime(path)
        except OSError:
            continue
