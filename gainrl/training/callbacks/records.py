"""What a run leaves on disk: ``metrics.csv``, a row per step; ``rollouts.jsonl``; ``evaluations.jsonl``, verdicts."""

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
from gainrl.training.callbacks.evaluation import fresh_evaluation, fresh_problems
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.grpo import GRPOModule
from gainrl.training.upkeep.checkpoints import CheckpointStore
from gainrl.training.upkeep.peak import PeakMemory

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

    def append(self, row: Mapping[str, float]) -> None:
        """Adds a row; one with the step of the last row adds its values to that row."""
        text = {name: _text(value) for name, value in row.items()}
        if self.rows and int(float(text["step"])) == self.last_step:
            self.rows[-1] |= text
            self.columns.extend(name for name in text if name not in self.columns)
            self._rewrite()
            return
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

    A row holds what `GRPOModule` and `Evaluation` gave in that step, how far the run is, the curriculum's metrics, and
    the last value of whatever other callbacks before this one logged. All of it is in ``trainer.callback_metrics``. Our
    own part goes to the loggers from here, under the number of the rollout step. The row of step 0 holds the evaluation
    before training. Place it after the callbacks whose metrics it is to hold. ``evaluations.jsonl`` has a line per
    evaluation: its step, and a 1 or a 0 for each held-out problem, which reports of several runs need.

    ``rollouts_every``: steps between those whose completions are written, None for none. ``repair`` is called with a
    logger that failed, and returns whether it works again; it is then given all rows so far. ``peak`` and ``store``
    know the peak of memory and the size of the last checkpoint.
    """

    def __init__(
        self,
        *,
        folder: Path,
        rollouts_every: int | None = 1,
        repair: Callable[[Any], bool] = lambda logger: False,
        peak: PeakMemory | None = None,
        store: CheckpointStore | None = None,
    ) -> None:
        self.folder = folder
        self.rollouts_every = rollouts_every
        self.peak, self.store = peak, store
        self.table: MetricsTable | None = None
        self.tracked_until = -1  # steps up to here went to the loggers before the run was interrupted
        self._repair = repair
        self._failures = 0
        self._repairs = 0
        self._own: set[str] = set()  # names that this run itself logs, not other callbacks

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GRPOModule)
        step = pl_module.counters.step
        self._own.update(name for callback in trainer.callbacks for name in getattr(callback, "latest", ()))  # type: ignore[attr-defined]
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.table = MetricsTable(self.folder / "metrics.csv")
            self.tracked_until = self.table.last_step
            with _named(self.table.path, step):
                self.table.keep_until(step if step else -1)
            for name in ("rollouts.jsonl", "evaluations.jsonl"):
                with _named(self.folder / name, step):
                    _keep_lines_until(self.folder / name, step)
        if step == 0:
            self._write(trainer, pl_module, {})

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, GRPOModule)
        step = pl_module.counters.step
        if trainer.is_global_zero and self.rollouts_every is not None and step % self.rollouts_every == 0:
            with pl_module.clock("logging"), _named(self.folder / "rollouts.jsonl", step):
                self._write_rollouts(pl_module)
        self._write(trainer, pl_module, outputs["metrics"])

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Adds the evaluation of a run that another callback stopped early, which comes after the row of its step."""
        assert isinstance(pl_module, GRPOModule)
        step = pl_module.counters.step
        late = fresh_evaluation(trainer, step)
        if self.table is None or not late or not self.table.rows:
            return
        if any(not self.table.rows[-1].get(name) for name in late):
            with _named(self.table.path, step):
                self.table.append({"step": float(step), **late})
            self._write_problems(trainer, step)
            self._track(trainer, late, step)

    def _write(self, trainer: lightning.Trainer, module: GRPOModule, metrics: Mapping[str, float]) -> None:
        with module.clock("logging"):
            step = module.counters.step
            given = dict(metrics) | fresh_evaluation(trainer, step)
            seconds = _measured(module)
            own = self._progress(trainer, module, seconds)
            learned = {f"curriculum/{name}": value for name, value in _data(trainer).curriculum.metrics().items()}
            module.log_dict(own | learned | seconds, logger=False)
            self._own.update(given, own, learned, seconds)
            others = {
                name: float(value)
                for name, value in trainer.callback_metrics.items()
                if name not in self._own and value.numel() == 1
            }
            if self.table is None:
                return
            row = own | given | learned | self._bytes() | seconds
            with _named(self.table.path, step):
                self.table.append(row | others)
            self._write_problems(trainer, step)
            if step > self.tracked_until:  # what others log, Lightning gives to the loggers itself
                self._track(trainer, row, step)

    def _write_problems(self, trainer: lightning.Trainer, step: int) -> None:
        problems = fresh_problems(trainer, step)
        if problems:
            path = self.folder / "evaluations.jsonl"
            with _named(path, step), open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **problems}) + "\n")

    def _progress(
        self, trainer: lightning.Trainer, module: GRPOModule, seconds: Mapping[str, float]
    ) -> dict[str, float]:
        counters, pool = module.counters, _data(trainer).pool
        return {
            "step": float(counters.step),
            "epoch": float(counters.step // pool.steps_per_epoch),
            "updates": float(counters.updates),
            "prompts_seen": float(counters.prompts),
            "rollouts": float(counters.rollouts),
            "generated_tokens": float(counters.generated_tokens),
            "wall_seconds": float(sum(value for name, value in seconds.items() if name.startswith("seconds/"))),
            "selection/distinct_prompts": float(np.count_nonzero(pool.history.visits)),
        }

    def _bytes(self) -> dict[str, float]:
        """Of this process and its files, so that no other rank knows them."""
        found = {} if self.peak is None else {"memory/peak_bytes": float(self.peak.most())}
        saved = None if self.store is None else self.store.saved
        return found if saved is None else found | {"checkpoint/bytes": float(saved.size)}

    def _track(self, trainer: lightning.Trainer, row: Mapping[str, float], step: int) -> None:
        """Gives a row to the loggers; one that fails again and again is left alone, since the table has everything."""
        for logger in trainer.loggers if self._failures < _PATIENCE else ():
            try:
                logger.log_metrics(dict(row), step=step)
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
        experience, advantages = module.experience, module.advantages_B
        assert experience is not None
        assert advantages is not None
        decode = module.policy.tokenizer.decode
        with open(self.folder / "rollouts.jsonl", "a") as file:
            for index, (group, problem, prompt) in enumerate(
                zip(experience.groups, experience.problems, experience.prompts, strict=True)
            ):
                text = decode(list(prompt.ids))
                for member, row in enumerate(experience.rows_of(index)):
                    verdict = experience.verdicts[row]
                    record = {
                        "step": module.counters.step,
                        "row": group.row,
                        "id": problem.id,
                        "source": problem.source,
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


def _data(trainer: lightning.Trainer) -> PromptDataModule:
    return trainer.datamodule  # type: ignore[attr-defined]


def _measured(module: GRPOModule) -> dict[str, float]:
    """Seconds and tokens of the phases so far, as rank 0 measured them."""
    clock = module.clock
    return module.ranks.gather(
        {f"seconds/{phase}": value for phase, value in sorted(clock.seconds.items())}
        | {f"tokens/{phase}": float(count) for phase, count in sorted(clock.tokens.items())}
    )[0]


@contextmanager
def _named(path: Path, step: int) -> Iterator[None]:
    """Turns a failed write into `RecordsFailed`, which names the file and what to do."""
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
