"""Checkpoint files: written whole or not at all, checked before they are trusted, the last few kept.

A file appears under its name only when it is complete and on the disk (draft, fsync, rename), and is read back with
weights-only loading after the checksums of all its parts have been verified. What cannot be read is set aside, and the
one before it is used. The weights of a model in shards lie in a folder beside the file (`training.upkeep.shards`).
"""

from __future__ import annotations

import os
import re
import shutil
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gainrl.files import DRAFT, sync, whole_file
from gainrl.training.upkeep.shards import SUFFIX, check_shards, drop_unnamed, size_of

_NAME = re.compile(r"step-(\d+)\.ckpt")
_PLAIN = (bool, int, float, str, type(None))


class CheckpointFailed(RuntimeError):
    """A checkpoint could not be written; those before it are untouched."""


class UnreadableCheckpoint(RuntimeError):
    """A file that is torn, damaged or no checkpoint."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that was just written: its size in bytes and the seconds that it took."""

    path: Path
    size: int
    seconds: float


class CheckpointStore:
    """``step-000012.ckpt`` and its like in one folder; the last ``keep`` of them, and ``best.ckpt``.

    Folders of shards stay as long as one of these files names them.

    Raises ValueError for ``keep`` below 1.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"checkpoint.keep={keep} would delete the only checkpoint; type checkpoint.keep=2")
        self.folder = folder
        self.keep = keep
        self.saved: Saved | None = None  # the last one that this process wrote

    def save(self, state: Mapping[str, Any], step: int, *, best: bool = False, after: Sequence[Path] = ()) -> Saved:
        """Writes ``step-<step>.ckpt`` once the files ``after`` are on the disk, and drops the oldest.

        Raises CheckpointFailed if the disk is full or cannot be written.
        """
        since = time.perf_counter()
        path = self.folder / f"step-{step:06d}.ckpt"
        try:
            for record in after:
                sync(record)
            write_checkpoint(state, path)
            if best:
                self._mark_best(path)
        except (OSError, RuntimeError) as fault:  # torch reports a full disk as either
            raise self.not_written(step, fault) from fault
        for _, old in self.steps()[: -self.keep]:
            old.unlink(missing_ok=True)
        self._drop_shards()
        self.saved = Saved(path, path.stat().st_size + size_of(state), time.perf_counter() - since)
        return self.saved

    def not_written(self, step: int, fault: BaseException) -> CheckpointFailed:
        """What to raise where ``fault`` kept the checkpoint of a step from being written."""
        known = self.steps()
        last = f"{known[-1][1]} is untouched" if known else "there is none before it"
        return CheckpointFailed(
            f"the checkpoint of step {step} could not be written ({fault}); {last}. "
            "Make room on the disk and repeat the command: the run goes on from its last checkpoint"
        )

    def _mark_best(self, path: Path) -> None:
        """Makes ``path`` the content of ``best.ckpt``, without another copy where the file system has links."""
        with whole_file(self.folder / "best.ckpt", durable=True) as draft:
            try:
                os.link(path, draft)
            except OSError:
                shutil.copyfile(path, draft)

    def newest(
        self, *, set_aside: bool = True, read: Callable[[Path], dict[str, Any]] | None = None
    ) -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint that can be read, or None where there is none at all.

        Those that cannot be read are renamed (``set_aside``), with a warning. ``read``: `read_checkpoint`, or
        `peek_checkpoint`. Raises UnreadableCheckpoint, with every file left as it is, if none can be read.
        """
        torn: list[tuple[Path, UnreadableCheckpoint]] = []
        for _, path in reversed(self.steps()):
            try:
                state = (read or read_checkpoint)(path)
            except UnreadableCheckpoint as fault:
                torn.append((path, fault))
                continue
            for damaged, reason in torn:
                kept = f"; kept as {_aside(damaged).name}" if set_aside else ""
                if set_aside:
                    os.replace(damaged, _aside(damaged))
                warnings.warn(f"{reason}{kept}, going back to the checkpoint before", stacklevel=2)
            return path, state
        if torn:
            raise UnreadableCheckpoint(f"none of the checkpoints in {self.folder} can be read: {torn[0][1]}")
        return None

    def forget_after(self, step: int) -> None:
        """Removes checkpoints of later steps, which a run that goes on from ``step`` computes again, and drafts."""
        for later, path in self.steps():
            if later > step:
                path.unlink(missing_ok=True)
        for draft in self.folder.glob(f".*{DRAFT}"):
            draft.unlink(missing_ok=True)
        self._drop_shards()

    def _drop_shards(self) -> None:
        """Removes shards that belong to no checkpoint; all stay while there is one that cannot be read."""
        if not any(self.folder.glob(f"*{SUFFIX}")):
            return
        try:
            held = [_loaded(path, mmap=True) for path in self.folder.glob("*.ckpt")]
        except UnreadableCheckpoint:
            return
        drop_unnamed(self.folder, {state["shards"]["folder"] for state in held if "shards" in state})

    def set_aside_after(self, step: int) -> None:
        """Renames checkpoints of later steps."""
        for later, path in self.steps():
            if later > step:
                os.replace(path, _aside(path))

    def steps(self) -> list[tuple[int, Path]]:
        """Step and path of all checkpoints, oldest first."""
        found = ((_NAME.fullmatch(path.name), path) for path in self.folder.glob("step-*.ckpt"))
        return sorted((int(match[1]), path) for match, path in found if match)


def write_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Raises TypeError, before anything is written, for values that weights-only loading would refuse."""
    check_plain(state)
    with whole_file(path, durable=True) as draft, open(draft, "wb") as file:
        torch.save(dict(state), file)


def _aside(path: Path) -> Path:
    return path.with_suffix(".unreadable")


def peek_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint whose tensors stay on the disk until somebody looks at them; what they hold is not verified.

    Raises UnreadableCheckpoint with the reason.
    """
    return _with_shards(path, contents=False)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Raises UnreadableCheckpoint with the reason.

    Tensors in shards are marks: `training.upkeep.shards.filled` reads them, from the folder that `shards_of` names.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not verify the checksums that it writes
            damaged = archive.testzip()
        if damaged is not None:
            raise UnreadableCheckpoint(f"{path} is damaged (checksum of {damaged})")
    except UnreadableCheckpoint:
        raise
    except Exception as fault:
        raise UnreadableCheckpoint(f"{path} cannot be read ({type(fault).__name__}: {fault})") from fault
    return _with_shards(path, contents=True)


def _with_shards(path: Path, *, contents: bool) -> dict[str, Any]:
    state = _loaded(path, mmap=True)  # nobody needs all of it at once
    try:
        check_shards(state, path, contents=contents)
    except (ValueError, OSError) as fault:
        raise UnreadableCheckpoint(f"{path} cannot be read: {fault}") from fault
    if "shards" in state:
        state["shards"]["place"] = str(path.resolve().parent / state["shards"]["folder"])
    return state


def shards_of(state: Mapping[str, Any]) -> Path | None:
    """The folder with the shards of a state that was read; None where it holds all by itself."""
    return Path(state["shards"]["place"]) if "shards" in state else None


def _loaded(path: Path, *, mmap: bool) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as fault:
        raise UnreadableCheckpoint(f"{path} cannot be read ({type(fault).__name__}: {fault})") from fault
    if not isinstance(state, dict) or "counters" not in state:
        raise UnreadableCheckpoint(f"{path} is no checkpoint of a run")
    return state


def check_plain(value: Any, where: str = "state") -> None:
    """Raises TypeError unless ``value`` consists of tensors, numbers, texts and containers of them."""
    if type(value) in _PLAIN or isinstance(value, torch.Tensor):
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_plain(key, f"a key of {where}")
            check_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_plain(item, f"{where}[{index}]")
    else:
        raise TypeError(
            f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which a checkpoint cannot hold: store "
            "tensors, int, float, bool, str, None, and lists, tuples and dicts of them"
        )
