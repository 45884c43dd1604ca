"""What a run leaves on disk: ``metrics.csv`` with one row per step, ``rollouts.jsonl`` with every completion."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback

from gainrl.files import whole_file
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.grpo import GRPOModule

_PATIENCE = 3  # failures of a logger in a row


class RecordsFailed(RuntimeError):
    """A record of a step could not be written; the checkpoints are untouched."""


class MetricsTable:
    """A CSV file with one row per step; a new column rewrites the file, since its header has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] = []
        self.rows: list[dict[str, str]] = []
        if path.exists():
            with open(path, newline="") as file:
                lines = file.readlines()
            if lines and not lines[-1].endswith("\n"):  # the process ended in the middle of a row
                lines.pop()
            reader = csv.DictReader(lines)
            self.columns = list(reader.fieldnames or [])
            self.rows = [row for row in reader if row.get("step")]

    def keep_until(self, step: int) -> None:
        """Drops the rows after ``step``: a resumed run computes them again."""
        self.rows = [row for row in self.rows if int(float(row["step"])) <= step]
        if self.columns:
            self._rewrite()

    @property
    def last_step(self) -> int:
        """The step of the last row, -1 if there is none."""
        return int(float(self.rows[-1]["step"])) if self.rows else -1

    def append(self, row: dict[str, float]) -> None:
        text = {name: _text(value) for name, value in row.items()}
        self.rows.append(text)
        fresh = [name for name in text if name not in self.columns]
        if fresh:
            self.columns.extend(fresh)
            self._rewrite()
        else:
            with open(self.path, "a", newline="") as file:
                csv.DictWriter(file, self.columns, restval="").writerow(text)

    def _rewrite(self) -> None:
        with whole_file(self.path) as draft, open(draft, "w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)


def _text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


class Records(Callback):
    """Writes the row of each step to ``metrics.csv`` and to the loggers, and its completions to ``rollouts.jsonl``.

    Place it after the callbacks that add to the row. ``rollouts_every``: steps between those whose completions are
    written, None for none. The row of step 0 holds the evaluation before training.

    ``repair`` is called with a logger that failed, and says whether it works again; it is then given all rows so far.
    ``gauges``: what else is read, by name, when a row is written; None is left out.
    """

    def __init__(
        self,
        *,
        folder: Path,
        rollouts_every: int | None = 1,
        repair: Callable[[Any], bool] = lambda logger: False,
        gauges: Mapping[str, Callable[[], float | None]] | None = None,
    ) -> None:
        self.folder = folder
        self.rollouts_every = rollouts_every
        self.table: MetricsTable | None = None
        self.tracked_until = -1  # steps up to here went to the loggers before the run was interrupted
        self.gauges = {} if gauges is None else gauges  # may be filled later
        self._repair = repair
        self._failures = 0
        self._repairs = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GRPOModule)
        if not trainer.is_global_zero:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.table = MetricsTable(self.folder / "metrics.csv")
        step = pl_module.counters.step
        self.tracked_until = self.table.last_step
        with _told(self.table.path, step):
            self.table.keep_until(step if step else -1)
        with _told(self.folder / "rollouts.jsonl", step):
            _keep_lines_until(self.folder / "rollouts.jsonl", step)
        if step == 0:
            self._write(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, GRPOModule)
        if not trainer.is_global_zero:
            return
        if self.rollouts_every is not None and pl_module.counters.step % self.rollouts_every == 0:
            with pl_module.clock("logging"), _told(self.folder / "rollouts.jsonl", pl_module.counters.step):
                self._write_rollouts(pl_module)
        self._write(trainer, pl_module)

    def _write(self, trainer: lightning.Trainer, module: GRPOModule) -> None:
        data: PromptDataModule = trainer.datamodule  # type: ignore[attr-defined]
        assert self.table is not None
        with module.clock("logging"):
            counters, seconds = module.counters, module.clock.seconds
            row = {
                "step": float(counters.step),
                "epoch": float(counters.step // data.pool.steps_per_epoch),
                "updates": float(counters.updates),
                "prompts_seen": float(counters.prompts),
                "rollouts": float(counters.rollouts),
                "generated_tokens": float(counters.generated_tokens),
                "wall_seconds": float(sum(seconds.values())),
                "selection/distinct_prompts": float(np.count_nonzero(data.pool.history.visits)),
                **module.row,
                **{f"curriculum/{name}": value for name, value in data.curriculum.metrics().items()},
                **{name: float(value) for name, read in self.gauges.items() if (value := read()) is not None},
                **{f"seconds/{phase}": value for phase, value in sorted(seconds.items())},
                **{f"tokens/{phase}": float(count) for phase, count in sorted(module.clock.tokens.items())},
            }
            with _told(self.table.path, counters.step):
                self.table.append(row)
            if counters.step > self.tracked_until:
                self._track(trainer, row, counters.step)

    def _track(self, trainer: lightning.Trainer, row: dict[str, float], step: int) -> None:
        """Gives a row to the loggers; one that fails again and again is left alone, since the table has everything."""
        for logger in trainer.loggers if self._failures < _PATIENCE else ():
            try:
                logger.log_metrics(row, step=step)
                self._failures = 0
            except Exception as fault:
                self._failures += 1
                repaired = self._repairs < _PATIENCE and self._repair(logger) and self._send_all(logger)
                self._repairs += repaired
                warnings.warn(
                    f"{type(logger).__name__} failed at step {step} ({type(fault).__name__}: {fault}); training goes "
                    f"on and {self.folder / 'metrics.csv'} has every step"
                    + (". It was started again and has all steps so far" if repaired else ""),
                    stacklevel=2,
                )

    def _send_all(self, logger: Any) -> bool:
        assert self.table is not None
        try:
            for row in self.table.rows:
                numbers = {name: float(text) for name, text in row.items() if text}
                logger.log_metrics(numbers, step=int(numbers["step"]))
        except Exception:
            return False
        self._failures, self.tracked_until = 0, -1
        return True

    def _write_rollouts(self, module: GRPOModule) -> None:
        experience, advantages = module.experience, module.advantages
        assert experience is not None
        assert advantages is not None
        size = experience.group_size
        decode = module.policy.tokenizer.decode
        with open(self.folder / "rollouts.jsonl", "a") as file:
            for index, (group, problem, prompt) in enumerate(
                zip(experience.groups, experience.problems, experience.prompts, strict=True)
            ):
                text = decode(list(prompt.ids))
                for member in range(size):
                    row = index * size + member
                    verdict = experience.verdicts[row]
                    record = {
                        "step": module.counters.step,
                        "row": group.row,
                        "id": problem.id,
                        "level": problem.level,
                        "prompt": text,
                        "completion": experience.texts[row],
                        "reference_answer": problem.reference_answer,
                        "verdict": str(verdict.judgement),
                        "reward": float(group.rewards[member]),
                        "advantage": float(advantages[row]),
                        "tokens": int(group.lengths[member]),
                        "truncated": bool(group.truncated[member]),
                    }
                    file.write(json.dumps(record) + "\n")


@contextmanager
def _told(path: Path, step: int) -> Iterator[None]:
    """Says which record could not be written, and what to do."""
    try:
        yield
    except OSError as fault:
        raise RecordsFailed(
            f"step {step}: {path} could not be written ({fault}); the checkpoints are untouched. Make room on the disk "
            "and repeat the command: the run goes on from its last checkpoint"
        ) from fault


def _keep_lines_until(path: Path, step: int) -> None:
    """Drops the lines of later steps, and a last line that was cut in the middle."""
    if not path.exists():
        return
    if step == 0:
        path.unlink()
        return
    with whole_file(path) as draft, open(path) as source, open(draft, "w") as target:
        for line in source:
            try:
                late = json.loads(line)["step"] > step
            except (json.JSONDecodeError, KeyError):
                break
            if late:
                break
            target.write(line)
