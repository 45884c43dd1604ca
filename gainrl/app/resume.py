"""Finds the checkpoint that a run goes on from, checks that it fits, and copies the files it needs."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from gainrl.app.early import NO_CHECKPOINT
from gainrl.app.errors import ConfigError, RunRefused
from gainrl.app.identity import differences, identity_part, of_another_version
from gainrl.datasets.splits import DataSplits
from gainrl.files import whole_file
from gainrl.signals.cache import weights_hash
from gainrl.training.callbacks.records import MetricsTable
from gainrl.training.callbacks.refresh import SignalRefresh
from gainrl.training.evaluation import EvaluationSet
from gainrl.training.upkeep.checkpoints import (
    CheckpointStore,
    UnreadableCheckpoint,
    peek_checkpoint,
    read_checkpoint,
)
from gainrl.training.upkeep.shards import copy_shards
from gainrl.types import Policy

_RECORDS = ("rollouts.jsonl", "evaluations.jsonl", "metrics.csv")  # the table last: once it is there, the others are
_WEIGHTS = "weights at the start"


def run_identity(
    plain: Mapping[str, Any], splits: DataSplits, sets: Sequence[EvaluationSet] = (), policy: Policy | None = None
) -> dict[str, Any]:
    """What a checkpoint and the run that continues it must share: settings, problems, weights at the start.

    ``sets``: the evaluation sets of the group ``eval``. Without a ``policy`` the weights are left out.
    """
    problems = {"train": splits.train, "held_out": splits.held_out} | {f"eval/{one.name}": one.problems for one in sets}
    identity: dict[str, Any] = {
        "config": _texts(identity_part(plain)),
        "data": {name: held.fingerprint for name, held in problems.items() if held is not None},
    }
    return identity if policy is None else identity | {_WEIGHTS: weights_hash(policy.model)}


def check_given(
    given: str | None,
    folder: Path,
    plain: Mapping[str, Any],
    splits: DataSplits,
    sets: Sequence[EvaluationSet],
) -> None:
    """Raises ConfigError or RunRefused as `find_checkpoint` would, before a weight is loaded or a file written.

    A directory that has checkpoints of its own is left to `find_checkpoint`.
    """
    if given is None or CheckpointStore(folder / "checkpoints").steps():
        return
    path, state = given_checkpoint(given, peek_checkpoint)
    there = {name: value for name, value in state["identity"].items() if name != _WEIGHTS}
    _refuse_other_run(path, there, run_identity(plain, splits, sets), prolonged=True)
    _require_signal(state, path, folder)


def find_checkpoint(
    given: str | None,
    folder: Path,
    store: CheckpointStore,
    identity: Mapping[str, Any],
    console: Console,
    *,
    writes: bool = True,
) -> dict[str, Any] | None:
    """The state that a run goes on from: the newest of its directory, or the one of ``resume`` if it is further.

    None for a run that begins. A stopped run that is repeated with its ``resume`` thus keeps everything computed since.
    ``writes``: whether this process may copy, rename and remove files.

    Raises ConfigError if ``resume`` names nothing readable or a file that the checkpoint needs is not there, RunRefused
    if no checkpoint of the directory can be read, or with the differences if the checkpoint belongs to another
    configuration, other problems or other weights.
    """
    found = _of_directory(store, given is not None, writes)
    own = -1 if found is None else int(found[1]["counters"]["step"])
    adopted = False
    if given is not None:
        ahead = -1
        try:
            path, start = given_checkpoint(given, peek_checkpoint)
            ahead = int(start["counters"]["step"])
        except ConfigError:
            if found is None:
                raise  # else the run has begun and no longer needs it
        if ahead > own:
            _refuse_other_run(path, start["identity"], identity, prolonged=True)
            # Rank 0 verifies the file before the others open it (`Ranks.in_turn`).
            found, adopted = given_checkpoint(given, read_checkpoint if writes else peek_checkpoint), True
        elif ahead < own:
            console.print(
                f"resume={given} is where this run began, and {folder} has come further. To start from there again, "
                "add hydra.run.dir=..., a new directory",
                highlight=False,
            )
    if found is None:
        if writes:
            store.forget_after(0)
        return None
    path, state = found
    _refuse_other_run(path, state["identity"], identity, prolonged=adopted)
    _require_signal(state, path, folder)
    step = int(state["counters"]["step"])
    if writes:
        if adopted:
            store.set_aside_after(step)  # none of them can be read
            adopt_records(path, state, folder)
        store.forget_after(step)
    console.print(f"going on after step {step}  [dim]{path}[/dim]", highlight=False)
    return state


def given_checkpoint(given: str, read: Callable[[Path], dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    """The file that ``resume`` names, or the newest readable checkpoint of a run directory."""
    try:
        if Path(given).is_file():
            return Path(given), read(Path(given))
        for folder in (Path(given) / "checkpoints", Path(given)):
            found = CheckpointStore(folder).newest(set_aside=False, read=read)
            if found is not None:
                return found
    except UnreadableCheckpoint as fault:
        raise ConfigError(f"resume={given}: {fault}; give another, or leave resume out") from fault
    raise ConfigError(NO_CHECKPOINT.format(given))


def adopt_records(path: Path, state: Mapping[str, Any], folder: Path) -> None:
    """Copies what belongs to a checkpoint of another directory: records so far, signals, and the best checkpoint."""
    step = int(state["counters"]["step"])
    for source in _beside(path):
        if source == folder.resolve():
            continue
        for held in sorted((source / "signals").glob("*.npz")):
            _copy(held, folder / "signals" / held.name)
        if (source / "record.json").exists() and MetricsTable(folder / "metrics.csv").last_step < step:
            for name in _RECORDS:
                _copy(source / name, folder / name, over=True)
    best, target = path.resolve().parent / "best.ckpt", folder / "checkpoints" / "best.ckpt"
    if _step_of(best) <= step and not target.exists():
        copy_shards(peek_checkpoint(best), best, target)
        _copy(best, target)
    if not target.exists() and state.get("callbacks", {}).get("Checkpoints", {}).get("best") is not None:
        warnings.warn(
            f"there is no best.ckpt beside {path} that is not later than it: {target} appears when the run "
            "is better than before",
            stacklevel=2,
        )


def _of_directory(store: CheckpointStore, has_other: bool, writes: bool) -> tuple[Path, dict[str, Any]] | None:
    try:
        return store.newest(set_aside=writes, read=None if writes else peek_checkpoint)
    except UnreadableCheckpoint as fault:
        if has_other:
            warnings.warn(str(fault), stacklevel=2)
            return None
        best = store.folder / "best.ckpt"
        known = f"resume={best} for the best one" if best.exists() else "resume=... for a copy elsewhere"
        raise RunRefused(
            f"{fault}. Nothing was changed. Type {known}, or hydra.run.dir=... to begin anew in another directory"
        ) from fault


def _refuse_other_run(path: Path, there: Mapping[str, Any], now: Mapping[str, Any], *, prolonged: bool = False) -> None:
    """``prolonged``: whether the run may be the same with more steps."""
    unlike = differences(there, without_more_steps(there, now) if prolonged else now)
    if unlike:
        lines = "\n".join(f"  {line}" for line in unlike[:20])
        raise RunRefused(
            f"{path} belongs to another run:\n{lines}\nRepeat the settings and the problems of that run "
            "(schedule.steps may be larger), or start anew with hydra.run.dir=..."
            + of_another_version(path.parent.parent, unlike)
        )


def without_more_steps(there: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """``now`` with the number of steps of ``there``, if it has more."""
    config = dict(now.get("config") or {})
    before = ((there.get("config") or {}).get("schedule") or {}).get("steps")
    after = (config.get("schedule") or {}).get("steps")
    if isinstance(before, int) and isinstance(after, int) and before < after:
        config["schedule"] = {**config["schedule"], "steps": before}
    return {**now, "config": config}


def _require_signal(state: Mapping[str, Any], path: Path, folder: Path) -> None:
    """Raises ConfigError if the values of the signal, which runs keep beside their checkpoints, are not there."""
    kept = state.get("callbacks", {}).get(SignalRefresh.__qualname__, {})
    places = [place / "signals" for place in (*_beside(path), folder)]
    for key, what in (("file", "the values of its signal"), ("states", "the hidden states of its prompts")):
        name = kept.get(key)
        if name is not None and not any((place / name).is_file() for place in places):
            raise ConfigError(
                f"{path} needs {what}, {places[0] / name}, which is not there. Copy the folder signals of the run that "
                "wrote the checkpoint there, or type resume=... with that run's directory"
            )


def _beside(path: Path) -> tuple[Path, Path]:
    """Where a run's records and signals can be: around the folder of its checkpoints, or in a copy without folders."""
    folder = path.resolve().parent
    return folder.parent, folder


def _step_of(path: Path) -> float:
    try:
        return int(peek_checkpoint(path)["counters"]["step"])
    except UnreadableCheckpoint:
        return float("inf")


def _copy(source: Path, target: Path, *, over: bool = False) -> None:
    """A file that appears whole or not at all; one that is there is kept unless ``over``."""
    if not source.exists() or (target.exists() and not over):
        return
    with whole_file(target, durable=True) as draft:
        shutil.copyfile(source, draft)


def _texts(node: Any) -> Any:
    """A configuration with the keys as texts: whole numbers may be keys in YAML."""
    if isinstance(node, Mapping):
        return {str(key): _texts(value) for key, value in node.items()}
    return [_texts(value) for value in node] if isinstance(node, list | tuple) else node
