"""``gainrl-train``: composes a run, checks it, trains, and leaves its record."""

from __future__ import annotations

from gainrl.app.runtime import importing, prepare_process

prepare_process()  # before torch is imported

import math
import signal
import sys
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from gainrl.app.commandline.command import Command, run_command
from gainrl.app.early import check_early
from gainrl.app.errors import (
    EXIT_INTERRUPTED,
    JobFailed,
    RunFailedBefore,
    RunInterrupted,
    RunRefused,
    explain,
    is_for_people,
)
from gainrl.app.identity import RunRecord, open_run, plain_config, shorter_run
from gainrl.app.job_process import can_fork, ended_by, may_import_ahead, requeue, run_apart
from gainrl.app.launch import check_engine, check_processes, speaks
from gainrl.app.lock import run_lock
from gainrl.app.paths import config_dir
from gainrl.app.precision import settle_precision
from gainrl.app.sweep import announce_job, failed_jobs, print_open_table
from gainrl.app.validate import validate

COMMAND = Command("gainrl-train", "config", "Cannot run", flags=("--dry-run", "--time-every-arm"))
_exit_code = 0


def cli() -> None:
    """The console script; exits with 0, with 1 if a run failed or was refused, with 75 if it was interrupted."""
    if "--dry-run" in sys.argv[1:]:
        from gainrl.app.preview import preview

        sys.exit(preview(COMMAND, sys.argv[1:]))
    try:
        refused = run_command(COMMAND, main)
    except (RunInterrupted, KeyboardInterrupt) as request:
        if not speaks():
            sys.exit(0)  # a nonzero exit here makes the launcher kill rank 0
        text = f"{str(request) or 'interrupted'}; the same command goes on from there"
        Console(stderr=True, soft_wrap=not sys.stderr.isatty()).print(text, highlight=False)
        sys.exit(EXIT_INTERRUPTED)
    finally:
        print_open_table()  # if a launcher gave up before the end of the sweep
    sys.exit(1 if refused or _exit_code or failed_jobs() else 0)


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="config")
def main(config: DictConfig) -> float:
    """One job; returns its objective, final held-out accuracy, or NaN if it failed."""
    global _exit_code
    console = Console(soft_wrap=not sys.stdout.isatty())  # in a log file a line stays a line
    multirun = HydraConfig.get().mode is RunMode.MULTIRUN
    folder = Path(HydraConfig.get().runtime.output_dir)
    if multirun:
        announce_job(folder)
    try:
        return run_job(config, console, multirun=multirun)
    except Exception as fault:
        _exit_code = 1
        if not (isinstance(fault, JobFailed) and fault.reported):
            if multirun:
                announce_job(folder, fault=_reason(fault))
            _report(fault, config)
        remove_empty(folder)
        return math.nan


def remove_empty(folder: Path) -> None:
    """Removes the directory of a refused job, and those above it, if they are empty."""
    here = Path.cwd()
    for path in (folder.absolute(), *folder.absolute().parents):
        if path == here or here not in path.parents:
            return
        try:
            path.rmdir()
        except OSError:
            return


def run_job(config: DictConfig, console: Console, *, multirun: bool = False) -> float:
    """Checks, then trains or goes on; a finished run with the same fingerprint returns its stored objective.

    Raises ConfigError before any weight is loaded if something cannot work, RunRefused if another process has the
    directory or its checkpoint belongs to another run, RunInterrupted if the run was asked to stop, and for a job of a
    sweep, which trains in a process of its own, JobFailed.
    """
    validate(config)
    check_early(config)
    check_processes(config.trainer, multirun=multirun)
    check_engine(config.rollout.engine, config.trainer)
    folder = Path(config.run.output_dir)
    settle_precision(config, folder, console)
    plain = plain_config(config)
    record = open_run(folder, plain)
    if record.status == "finished":
        elsewhere = (
            "" if config.resume is None else "; to start from it in a new directory, add hydra.run.dir=... to resume"
        )
        console.print(
            f"{folder} is finished: objective {record.content['objective']:.4f}, nothing to do{elsewhere}",
            highlight=False,
        )
        return float(record.content["objective"])
    if not record.content and config.resume is None:
        _mention_shorter_run(folder, plain, console)
    if multirun and record.status == "failed" and not config.retry_failed:
        raise RunFailedBefore(f"failed before: {record.content.get('fault')}; retry_failed=true runs it again")
    if multirun and can_fork():
        return train_apart(config, record, console)
    return train_here(config, record, console)


def _mention_shorter_run(folder: Path, plain: Mapping[str, Any], console: Console) -> None:
    """Points to a shorter run of the same settings: perhaps this run was meant to prolong it."""
    shorter = shorter_run(folder, plain)
    if shorter is not None:
        console.print(
            f"note: {shorter[0]} is the same run up to step {shorter[1]}. This one starts from scratch; "
            f"type resume={shorter[0]} to go on from there",
            style="yellow",
            highlight=False,
        )


def train_here(config: DictConfig, record: RunRecord, console: Console, *, repeats: bool = False) -> float:
    """Trains here and in the processes that join, with the directory's lock; ``repeats`` as in `StopRequest`."""
    with importing():
        from gainrl.app.components import build_components
        from gainrl.app.launch import connect
        from gainrl.app.resume import check_given
        from gainrl.app.run import counting_failures, prepare_callbacks, train
        from gainrl.training.distributed.ranks import OtherRankFailed
        from gainrl.training.upkeep.interruption import Interrupted, StopRequest

    folder, plain = record.folder, plain_config(config)
    stop = StopRequest(repeats=repeats, max_hours=config.trainer.max_hours)
    stop.install()
    try:
        components = counting_failures(build_components(config), config, stop)
        callbacks = prepare_callbacks(config, components, folder, console, stop)
        check_given(config.resume, folder, plain, components.splits, components.evaluation_sets)
        ranks = connect(config.trainer, meeting=str(folder))
        if not ranks.leads:
            record.keep_to_itself()
            console.quiet = True
        with ExitStack() as held:
            ranks.first(lambda: take(folder, plain, held))
            before = record.status
            record.begin(plain)
            try:
                return train(config, components, callbacks, record, console, ranks)
            except (Interrupted, KeyboardInterrupt) as request:
                record.update(status="interrupted", fault=str(request))
                raise
            except RunRefused:  # the directory still belongs to the run that it holds
                record.update(status=before or "failed")
                raise
            except BaseException as fault:
                try:
                    record.update(status="failed", fault=_reason(fault))
                except OSError as full:
                    warnings.warn(f"{record.path} could not be written ({full})", stacklevel=2)
                raise
    except OtherRankFailed as fault:  # that rank has printed the reason
        raise RunRefused(str(fault)) from None
    except (Interrupted, KeyboardInterrupt) as request:
        raise RunInterrupted(f"{folder}: {str(request) or 'interrupted'}") from request
    finally:
        stop.remove()


def take(folder: Path, plain: Mapping[str, Any], held: ExitStack) -> None:
    """Locks the directory, and looks again at what it holds: another run may have ended there since the first look."""
    held.enter_context(run_lock(folder))
    open_run(folder, plain)


def train_apart(config: DictConfig, record: RunRecord, console: Console) -> float:
    """Trains in a process of its own; a process that the system ended leaves a failed record and nothing else."""
    if may_import_ahead():  # imported once for all jobs of this process
        with importing():
            import gainrl.app.run  # noqa: F401

    folder = record.folder

    def work() -> int:
        try:
            train_here(config, record, console, repeats=True)
        except RunInterrupted:
            return EXIT_INTERRUPTED
        except Exception as fault:
            announce_job(folder, fault=_reason(fault))
            _report(fault, config)
            return 1
        return 0

    code, requests = run_apart(work)
    record = RunRecord(folder)
    wanted = {signal.SIGTERM, signal.SIGINT} & set(requests)  # the sweep stops as well
    if code == EXIT_INTERRUPTED or wanted:
        if record.status != "finished":
            requeue(requests)
        raise RunInterrupted(f"{folder}: {record.content.get('fault') or record.status or 'interrupted'}")
    if code == 0 or (code < 0 and record.status == "finished"):
        return float(record.content["objective"])
    if code > 0:
        raise JobFailed(f"{folder} failed", reported=True)
    reason = ended_by(code)
    if record.content:
        record.update(status="failed", fault=reason)
    raise JobFailed(reason, reported=False)


def _reason(fault: BaseException) -> str:
    return str(fault) if is_for_people(fault) else f"{type(fault).__name__}: {fault}"


def _report(fault: Exception, config: DictConfig) -> None:
    wanted = bool(OmegaConf.select(config, "records.traceback", default=False))
    explain(fault, COMMAND.cannot, traceback=wanted)


if __name__ == "__main__":
    cli()
