"""Runs of a Weights & Biases project, through wandb's public API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gainrl.report.reader import Run, base_of, is_kept, with_screening

_STATUS = {
    "finished": "finished",
    "running": "running",
    "crashed": "failed",
    "failed": "failed",
    "killed": "interrupted",
}


def read_project(path: str, *, api: Any = None) -> list[Run]:
    """The runs of ``entity/project``. Raises ValueError, in words for people, where no server answers.

    ``api``: an object with ``runs(path)``, by default ``wandb.Api()``.
    """
    try:
        if api is None:
            import wandb

            api = wandb.Api(timeout=30)
        return [_run(run) for run in api.runs(path)]
    except Exception as fault:
        reason = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
        raise ValueError(
            f"the W&B project {path} cannot be read ({reason}). It takes a server that can be reached and a key "
            "(wandb login). The run directories hold everything as well: gainrl-report runs/sweeps/..."
        ) from fault


def _run(run: Any) -> Run:
    config: Mapping[str, Any] = dict(run.config)
    settings = config.get("run") or {}
    status = _STATUS.get(str(run.state), str(run.state))
    return Run(
        source=str(run.url),
        arm=str(settings.get("arm") or run.group or run.name),
        seed=int(config.get("seed", 0)),
        status=status,
        task=str(settings.get("experiment") or ""),
        experiment=str(settings.get("experiment") or ""),
        base=base_of(config),
        overrides=tuple(map(str, settings["overrides"])) if isinstance(settings.get("overrides"), list) else None,
        fault="" if status in ("finished", "running") else f"W&B says {run.state}",
        config=config,
        columns=with_screening(_columns(list(run.scan_history())), config),
    )


def _columns(rows: list[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    rows = sorted((row for row in rows if row.get("step") is not None), key=lambda row: float(row["step"]))
    names = sorted({name for row in rows for name in row if is_kept(name)})
    return {name: np.array([_value(row.get(name)) for row in rows]) for name in names}


def _value(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
