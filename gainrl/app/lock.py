"""One process at a time in a run directory: filelock holds ``.lock`` for the run, and its text names the owner.

The system releases the lock with the process that holds it, however that process ended, so there is nothing to clean up
after a kill. It holds between machines too, where their file system has locks (NFS 4, Lustre mounted with ``flock``).
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gainrl.app.errors import RunRefused


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Holds the lock of a run directory; raises RunRefused, naming the owner, if another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RunRefused(
            f"{folder} is in use by {_owner(path)}. Wait for it or end it, or give another directory with "
            "hydra.run.dir=..."
        ) from None
    try:
        path.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        path.write_text("")
        lock.release()


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text())
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # between taking the lock and writing into it
        return "another process"
