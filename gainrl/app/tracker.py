"""Lightning's `WandbLogger` with the axes of this project, and tables of completions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger

AXES = ("step", "prompts_seen", "rollouts", "generated_tokens", "wall_seconds")  # budgets that scores are drawn against
_COLUMNS = ("step", "id", "level", "prompt", "completion", "reference_answer", "verdict", "reward", "advantage")
_TAIL_BYTES = 4 << 20  # of rollouts.jsonl, in which the completions of the last step are looked for


class Tracker(WandbLogger):
    """Logs rows of metrics, and every ``samples_every`` steps a table ``completions`` from ``rollouts.jsonl``.

    Every budget is defined as an axis, and scores of evaluations are drawn against the prompts seen. ``samples``: rows
    of a table, half of them of the highest rewards and half of the lowest.
    """

    def __init__(self, *, rollouts: Path, samples_every: int | None, samples: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._wandb_init.pop("anonymous", None)  # Lightning names a setting that wandb warns of on every start
        self._rollouts = rollouts
        self._samples_every, self._samples = samples_every, samples

    @property
    def experiment(self) -> Any:
        new = self._experiment is None
        run = super().experiment
        if new and hasattr(run, "define_metric"):
            for axis in AXES:
                run.define_metric(axis)
            run.define_metric("eval/*", step_metric="prompts_seen")
        return run

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row: dict[str, Any] = dict(metrics)
        if step and self._samples_every and step % self._samples_every == 0 and "reward" in metrics:
            shown = completions_of(self._rollouts, step, self._samples)
            if shown:
                cells = [[one.get(name) for name in _COLUMNS] for one in shown]
                row["completions"] = wandb.Table(columns=list(_COLUMNS), data=cells)
        super().log_metrics(row, step)


def completions_of(path: Path, step: int, number: int) -> list[dict[str, Any]]:
    """Completions of a step, the highest rewards and the lowest; empty where the step's are not kept."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        lines = file.read().splitlines()
    found = []
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except ValueError:  # cut where the reading began
            break
        if row["step"] != step:
            break
        found.append(row)
    found.sort(key=lambda row: -row["reward"])
    return found if len(found) <= number else found[: number - number // 2] + found[len(found) - number // 2 :]
