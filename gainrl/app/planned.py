"""Lists the jobs of a command line with their directories and records, without starting any."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from gainrl.app.commandline.check import composition_fault, job_of
from gainrl.app.commandline.composing import Composer, resolvable
from gainrl.app.errors import ConfigError
from gainrl.app.identity import RunRecord, fingerprint, has_computed, plain_config
from gainrl.app.precision import keep_precision
from gainrl.report.arms import NOT_THE_ARM, labels_of
from gainrl.report.plan import expand_jobs, job_folder
from gainrl.report.reader import BASE_KEYS, is_below

_COMPARED_SECONDS = 15.0  # spent on composing arms and comparing directories; later arms count as equal to the first


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a command line: its overrides, directory and arm, and the content of its record.

    ``steps`` and ``evaluations`` count the whole job.
    """

    overrides: tuple[str, ...]
    folder: Path
    arm: str
    status: str
    seconds: float | None
    steps: int
    evaluations: int


def list_jobs(
    settings: Sequence[str],
    *,
    primary: str = "config",
    extra: str | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Job]:
    """The jobs of ``gainrl-train -m`` with these settings, and the state of their directories.

    ``extra``: the folder of ``--config-dir``. Raises ConfigError for settings that cannot be composed.
    """
    composer = Composer(primary, extra)
    try:
        hydra_own = [text for text in settings if text.lstrip("+~").startswith("hydra")]
        typed = [text for text in settings if text not in hydra_own]
        plain = [text for text in typed if not _sweeps(text)]
        whole = composer.compose([*plain, *hydra_own], multirun=True)
        sweeper = OmegaConf.to_container(whole.hydra.sweeper, resolve=False)
        assert isinstance(sweeper, dict)
        with resolvable(whole):
            root = Path(whole.hydra.sweep.dir)
        if "n_trials" in sweeper:
            return _trials(whole, root, int(sweeper["n_trials"]))
        params = {str(key): str(value) for key, value in (sweeper.get("params") or {}).items()}
        naming: Any = OmegaConf.to_container(whole.hydra.job.config.override_dirname)
        jobs = []
        sizes: dict[tuple[str, ...], tuple[int, int]] = {}
        until = clock() + _COMPARED_SECONDS
        for overrides in expand_jobs(params, typed, composer.loader):
            folder = root / job_folder(overrides, naming, str(whole.seed))
            key = tuple(text for text in overrides if not text.startswith("seed="))
            record = RunRecord(folder).content
            config = None
            if not sizes or ((record or key not in sizes) and clock() < until):
                config = composer.compose([*overrides, *hydra_own])
                sizes.setdefault(key, _sizes(config))
            jobs.append(_job(overrides, folder, record, config, sizes.get(key) or next(iter(sizes.values()))))
        return _named(jobs, {*naming["exclude_keys"], *BASE_KEYS, *whole.identity_excludes})
    except (HydraException, OmegaConfBaseException) as fault:
        raise ConfigError(composition_fault(fault)) from fault
    finally:
        GlobalHydra.instance().clear()


def single_job(settings: Sequence[str], *, primary: str = "config", extra: str | None = None) -> list[Job]:
    """The one job of ``gainrl-train`` without ``-m``. Raises ConfigError."""
    composer = Composer(primary, extra)
    try:
        config = composer.compose(settings)
        with resolvable(config):
            folder = Path(config.hydra.run.dir)
        typed = [text for text in settings if not text.lstrip("+~").startswith("hydra")]
        return [_job(typed, folder, RunRecord(folder).content, config, _sizes(config))]
    except (HydraException, OmegaConfBaseException) as fault:
        raise ConfigError(composition_fault(fault)) from fault
    finally:
        GlobalHydra.instance().clear()


def composed(job: Job, *, primary: str = "config", extra: str | None = None) -> DictConfig:
    """The configuration of a job, as the job would see it. Raises ConfigError."""
    try:
        config = Composer(primary, extra).compose([*job.overrides])
        with resolvable(config):
            resolved = job_of(config)
            OmegaConf.resolve(resolved)
            return resolved
    except (HydraException, OmegaConfBaseException) as fault:
        raise ConfigError(composition_fault(fault)) from fault
    finally:
        GlobalHydra.instance().clear()


def _named(jobs: Sequence[Job], excluded: Collection[str]) -> list[Job]:
    """The jobs, their arms called by the settings in which they differ, without the base: as in a report."""
    without = {*excluded, *NOT_THE_ARM} - {"experiment"}
    made = []
    for job in jobs:
        pairs = [text.lstrip("+~").partition("=") for text in job.overrides]
        made.append({key: value for key, _, value in pairs if not is_below(key, without)})
    return [replace(job, arm=label or job.arm) for job, label in zip(jobs, labels_of(made), strict=True)]


def _sweeps(text: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return "=" in text and OverridesParser.create().parse_override(text).is_sweep_override()


def _sizes(config: DictConfig) -> tuple[int, int]:
    """Steps and evaluations: one before the first step, every so many, and one after the last."""
    steps, every = int(config.schedule.steps), int(config.evaluation.every)
    return steps, 1 + steps // every + (steps % every > 0)


def _job(
    overrides: Sequence[str],
    folder: Path,
    record: Mapping[str, Any],
    config: DictConfig | None,
    sizes: tuple[int, int],
) -> Job:
    status = str(record.get("status") or "new")
    if config is not None and status != "new" and record.get("fingerprint") != _fingerprint(config, folder):
        status = "another run" if has_computed(folder) else "new"
    seconds = record.get("wall_seconds") if status == "finished" else None
    return Job(tuple(overrides), folder, folder.parent.name, status, seconds, *sizes)


def _fingerprint(config: DictConfig, folder: Path) -> str:
    with resolvable(config):
        job = job_of(config)
        OmegaConf.update(job, "run.output_dir", str(folder.absolute()))
        keep_precision(job, folder)
        return fingerprint(plain_config(job))


def _trials(config: DictConfig, root: Path, number: int) -> list[Job]:
    """The jobs of a search, which chooses its constants as it goes; the published ones give the estimate."""
    example = Job(tuple(config.hydra.overrides.task), root, "a trial", "new", None, *_sizes(config))
    records = [RunRecord(path.parent).content for path in sorted(root.glob("*/s*/record.json"))]
    done = [record.get("wall_seconds") for record in records if record.get("status") == "finished"][:number]
    return [
        replace(
            example,
            folder=root / "<constants>" / f"trial {index}",
            status="finished" if index < len(done) else "new",
            seconds=done[index] if index < len(done) else None,
        )
        for index in range(number)
    ]
