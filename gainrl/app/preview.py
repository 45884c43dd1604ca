"""``gainrl-train -m ... --dry-run``: what a sweep would cost, before it is started.

Hours come from finished runs of the same arm where there are any, and from a short timed run where there are none.
"""

from __future__ import annotations

import copy
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console
from rich.table import Table

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from gainrl.app.identity import RunRecord, fingerprint, plain_config
from gainrl.app.paths import config_dir
from gainrl.app.precision import keep_precision
from gainrl.report.blocks import duration
from gainrl.report.plan import expand_jobs

TIMED_STEPS = 6
_FLAGS = ("-m", "--multirun", "--dry-run", "--time-every-arm")


@dataclass(frozen=True, slots=True)
class Job:
    """A job of the sweep: its overrides, directory, arm and what its record says of it."""

    overrides: tuple[str, ...]
    folder: Path
    arm: str
    status: str
    seconds: float | None
    steps: int
    evaluations: int


def preview(arguments: Sequence[str], console: Console | None = None) -> int:
    """Prints the jobs of a command line by arm, with hours; the exit code: 0, or 1 where they cannot be listed."""
    console = console or Console()
    try:
        jobs = list_jobs([text for text in arguments if text not in _FLAGS])
    except Exception as fault:
        console.print(f"Cannot list the jobs: {fault}", style="red", markup=False, highlight=False)
        return 1
    seconds = estimate(jobs, console, every_arm="--time-every-arm" in arguments)
    _print(jobs, seconds, console)
    return 0


def list_jobs(arguments: Sequence[str]) -> list[Job]:
    """The jobs that ``gainrl-train -m`` would start with these arguments, with the state of their directories."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3", job_name="gainrl"):
        swept = [text for text in arguments if "=" in text and _holds_choices(text)]
        plain = [text for text in arguments if text not in swept]
        whole = compose("config", overrides=list(plain), return_hydra_config=True)
        sweeper = OmegaConf.to_container(whole.hydra.sweeper, resolve=False)
        assert isinstance(sweeper, dict)
        if "n_trials" in sweeper:
            return _trials(plain, Path(whole.hydra.sweep.dir), int(sweeper["n_trials"]))
        params = {str(key): str(value) for key, value in (sweeper.get("params") or {}).items()}
        loader = GlobalHydra.instance().config_loader()
        return [_job(job) for job in expand_jobs(params, [*arguments], loader)]


def _trials(overrides: Sequence[str], root: Path, number: int) -> list[Job]:
    """The jobs of a search: it chooses their constants as it goes, and they are priced by the published ones."""
    example = _job(overrides)
    records = [RunRecord(path.parent).content for path in sorted(root.glob("*/s*/record.json"))]
    done = [record.get("wall_seconds") for record in records if record.get("status") == "finished"][:number]
    return [
        replace(
            example,
            folder=root / "<constants>" / f"trial {index}",
            arm="a trial",
            status="finished" if index < len(done) else "new",
            seconds=done[index] if index < len(done) else None,
        )
        for index in range(number)
    ]


def _holds_choices(text: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(text).is_sweep_override()


def _job(overrides: Sequence[str]) -> Job:
    config = compose("config", overrides=list(overrides), return_hydra_config=True)
    with _hydra_config(config):
        folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
        config.hydra.runtime.output_dir = str(folder.absolute())
        job_config = copy.deepcopy(config)
        with open_dict(job_config):
            del job_config["hydra"]  # as Hydra hands it to a job
        keep_precision(job_config, folder)
        plain = plain_config(job_config)
        record = RunRecord(folder).content
        status = str(record.get("status") or "new")
        if status != "new" and record.get("fingerprint") != fingerprint(plain):
            status = "another run"
    steps, every = int(plain["schedule"]["steps"]), int(plain["evaluation"]["every"])
    return Job(
        overrides=tuple(overrides),
        folder=folder,
        arm=str(plain["run"]["arm"]),
        status=status,
        seconds=record.get("wall_seconds") if status == "finished" else None,
        steps=steps,
        evaluations=1 + steps // every + (steps % every > 0),
    )


class _hydra_config:
    """Lets ``${hydra:...}`` be resolved for a composed configuration, as in a job."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config

    def __enter__(self) -> None:
        self.before = HydraConfig.instance().cfg
        OmegaConf.set_readonly(self.config.hydra, False)
        HydraConfig.instance().cfg = self.config  # type: ignore[assignment]  # set_config would refuse the missing help

    def __exit__(self, *fault: object) -> None:
        HydraConfig.instance().cfg = self.before


def estimate(
    jobs: Sequence[Job],
    console: Console,
    *,
    every_arm: bool = False,
    run: Callable[[Job, Path], Mapping[str, Any]] | None = None,
) -> dict[str, tuple[float, str]]:
    """Arm to seconds of one job and where they come from.

    Arms without a finished run are timed, all of them with ``every_arm``, else one of them for all. ``run`` trains a
    job for a few steps and returns its last row, by default in a process of its own.
    """
    known: dict[str, tuple[float, str]] = {}
    for arm in dict.fromkeys(job.arm for job in jobs):
        done = [job.seconds for job in jobs if job.arm == arm and job.seconds] + _elsewhere(jobs, arm)
        if done:
            known[arm] = (median(done), f"{len(done)} finished run{'s' if len(done) > 1 else ''}")
    rest = [next(job for job in jobs if job.arm == arm) for arm in dict.fromkeys(job.arm for job in jobs)]
    rest = [job for job in rest if job.arm not in known]
    timed: tuple[float, str] | None = None
    for job in rest:
        if timed is None or every_arm:
            console.print(f"[dim]timing {job.arm} for {TIMED_STEPS} steps ...[/dim]", highlight=False)
            with tempfile.TemporaryDirectory() as folder:
                row = (run or run_shortly)(job, Path(folder) / "run")
            timed = (scale(row, job), f"{TIMED_STEPS} timed steps")
            known[job.arm] = timed
        else:
            known[job.arm] = (timed[0], "the arm timed above")
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


def run_shortly(job: Job, folder: Path) -> Mapping[str, Any]:
    """Trains a job for a few steps in a process of its own; its last row, with ``startup`` seconds.

    Raises RuntimeError with the end of its output if it fails.
    """
    kept = [text for text in job.overrides if not text.lstrip("+~").startswith(("sweep=", "logger=", "hydra"))]
    short = [
        f"schedule.steps={TIMED_STEPS}",
        f"evaluation.every={TIMED_STEPS}",
        "logger=none",
        f"hydra.run.dir={folder}",
        "hydra.mode=RUN",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "gainrl.app.train", *kept, *short], capture_output=True, text=True, env=os.environ
    )
    if done.returncode:
        raise RuntimeError(f"the timed run of {job.arm} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    with open(folder / "metrics.csv", newline="") as file:
        last: dict[str, Any] = list(csv.DictReader(file))[-1]
    record = json.loads((folder / "record.json").read_text())
    phases = sum(float(value) for name, value in last.items() if name.startswith("seconds/") and value)
    return {**last, "startup": max(float(record["wall_seconds"]) - phases, 0.0)}


def scale(row: Mapping[str, Any], job: Job) -> float:
    """Seconds of the whole job from a short run: start and signal once, evaluations and steps by their number."""
    phases = {
        name.split("/", 1)[1]: float(value) for name, value in row.items() if name.startswith("seconds/") and value
    }
    evaluation = phases.pop("evaluation", 0.0) / 2  # before the first and after the last step
    once = float(row.get("startup", 0.0)) + phases.pop("refresh", 0.0)
    return once + evaluation * job.evaluations + sum(phases.values()) / TIMED_STEPS * job.steps


def _print(jobs: Sequence[Job], seconds: Mapping[str, tuple[float, str]], console: Console) -> None:
    table = Table(title=f"{len(jobs)} jobs", title_justify="left")
    for name in ("arm", "jobs", "finished", "to run", "one job", "in all", "known from"):
        table.add_column(name, justify="left" if name in ("arm", "known from") else "right", overflow="fold")
    total = 0.0
    for arm in dict.fromkeys(job.arm for job in jobs):
        mine = [job for job in jobs if job.arm == arm]
        left = sum(job.status != "finished" for job in mine)
        one, source = seconds[arm]
        total += left * one
        table.add_row(
            arm, str(len(mine)), str(len(mine) - left), str(left), duration(one), duration(left * one), source
        )
    console.print(table)
    left = sum(job.status != "finished" for job in jobs)
    console.print(
        f"{left} of {len(jobs)} jobs to run, about {duration(total)} one after the other "
        f"({duration(total / 2)} two at a time: hydra/launcher=joblib hydra.launcher.n_jobs=2)",
        highlight=False,
    )
    root = Path(os.path.commonpath([str(job.folder.parent.parent) for job in jobs])) if jobs else Path()
    console.print(f"directories: {root}/<arm>/s<seed>", highlight=False)
    for job in jobs:
        if job.status == "another run":
            console.print(f"[yellow]{job.folder} holds another run and will be refused[/yellow]", highlight=False)
