"""When checkpoints are written, and where a run stops that was asked to."""

from __future__ import annotations

import csv
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from torch.distributed.checkpoint.api import CheckpointException

from gainrl.training.callbacks.evaluation import fresh_evaluation
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.grpo import GRPOModule
from gainrl.training.upkeep.checkpoints import CheckpointStore, Saved
from gainrl.training.upkeep.interruption import Interrupted, Stopped, StopRequest
from gainrl.training.upkeep.shards import has_shards, write_shards
from gainrl.training.upkeep.state import collect_state, restore_optimizers

# Checkpoints that take longer than this are so far apart that they take no more than this share of the time.
_CHEAP_SECONDS, _MOST_SHARE = 1.0, 0.03


class Checkpoints(Checkpoint):
    """Saves every ``every_steps`` steps, every ``every_minutes`` minutes, at a new best, and after the last step.

    As one of Lightning's checkpoint callbacks it runs after all others: a checkpoint at the end of an epoch holds the
    order of the next one, and a checkpoint of step ``s`` appears after the records of step ``s`` are on the disk
    (``durable``: those files). ``monitor`` names a logged value whose ``max`` or ``min`` decides ``best.ckpt``, or is
    None. ``identity`` says what run the state belongs to; it may be set until the fit begins.

    Nothing is saved between an update that was refused as not finite and the next good one, so that the checkpoints
    kept are from before. A run whose judges failed too often (``stop.reason``) is saved and stopped, but not with an
    evaluation that they may have spoilt. A run that another callback ends (Lightning's `EarlyStopping`, `Timer`) is
    saved with the reason, ``stopped_early``; resumed from there it ends at once. Raises ValueError for periods out of
    range.
    """

    def __init__(
        self,
        *,
        store: CheckpointStore,
        identity: Mapping[str, Any] | None = None,
        every_steps: int | None,
        every_minutes: float | None = None,
        monitor: str | None = None,
        mode: Literal["max", "min"] = "max",
        durable: Sequence[Path] = (),
        stop: StopRequest | None = None,
    ) -> None:
        for name, period in (("every_steps", every_steps), ("every_minutes", every_minutes)):
            if period is not None and period <= 0:
                raise ValueError(f"checkpoint.{name}={period} must be positive, or null for no such period")
        if mode not in ("max", "min"):
            raise ValueError(f"checkpoint.mode={mode!r} is unknown; use max or min")
        self.store = store
        self.identity = dict(identity or {})
        self.every_steps, self.every_minutes = every_steps, every_minutes
        self.monitor, self.mode = monitor, mode
        self.durable = list(durable)
        self.stop = stop or StopRequest()
        self.best: float | None = None
        self.stopped_early: str | None = None
        self._pending: Mapping[str, Any] | None = None
        self._last_step = 0
        self._last_time = time.monotonic()
        self._save_seconds = self._longest_step = 0.0
        self._border_time: float | None = None

    def resume(self, state: Mapping[str, Any]) -> None:
        """Names the state whose optimizers are to be restored once the trainer has made them."""
        self._pending = state
        self._last_step = int(state["counters"]["step"])

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.stop.installed:
            self.stop.install()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GRPOModule)
        if self.stop.installed:  # Lightning has added a handler that speaks to other ranks wherever it finds this one
            self.stop.install()
        if self._pending is not None:
            restore_optimizers(self._pending, trainer)
            self._pending = None
        self._last_time = time.monotonic()
        _, reason, _ = self._asked(pl_module)
        if reason is not None:
            raise Stopped(f"before the next step: {reason}")
        self.stop.between_steps = True
        if self.stopped_early is not None:
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        data: PromptDataModule = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, GRPOModule)
        step = pl_module.counters.step
        if step % data.pool.steps_per_epoch and step < data.pool.total_steps:
            self._border(trainer, pl_module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GRPOModule)
        self._border(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "stopped_early": self.stopped_early}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.stopped_early = state_dict["best"], state_dict["stopped_early"]

    def _border(self, trainer: lightning.Trainer, module: GRPOModule) -> None:
        """Between two steps: saves if it is time, stops if asked to."""
        data: PromptDataModule = trainer.datamodule  # type: ignore[attr-defined]
        step, complete = module.counters.step, module.counters.step >= data.pool.total_steps
        signal, reason, time_is_up = self._asked(module)
        if trainer.should_stop and not complete:
            self.stopped_early = _why(trainer, step)
        last = complete or self.stopped_early is not None
        stopping = reason is not None or (signal is not None and not last)
        evaluation = fresh_evaluation(trainer, step)
        best = self._better(trainer, evaluation)
        spoilt = reason is not None and bool(evaluation)
        due = best is not None or (last and step != self._last_step) or stopping or time_is_up
        if due and not spoilt and not module.counters.nonfinite_in_a_row:
            with module.clock("checkpoint"):
                self._save(trainer, module, best)
        if reason is not None:
            known = self.store.steps()
            kept = f"the checkpoint of step {known[-1][0]}" if known else "no checkpoint, and begins anew"
            raise Stopped(f"step {step}: {reason}. Repaired, the same command goes on from {kept}")
        if stopping:
            raise Interrupted(f"{signal} after step {step}")

    def _asked(self, module: GRPOModule) -> tuple[str | None, str | None, bool]:
        """The signal or reason to stop that any rank has, and whether it is time to save by rank 0's clock."""
        asked = module.ranks.gather(
            (self.stop.signal or self._out_of_time(), self.stop.reason, self._due(module.counters.step))
        )
        signal = next((name for name, _, _ in asked if name is not None), None)
        reason = next((text for _, text, _ in asked if text is not None), None)
        return signal, reason, asked[0][2]

    def _out_of_time(self) -> str | None:
        """Why to stop now, where another step and its checkpoint might not end within ``trainer.max_hours``."""
        now = time.monotonic()
        if self._border_time is not None:
            self._longest_step = max(self._longest_step, now - self._border_time)
        self._border_time = now
        needed = self._longest_step + 2 * self._save_seconds
        return f"trainer.max_hours={self.stop.max_hours:g}" if self.stop.runs_out(needed) else None

    def _due(self, step: int) -> bool:
        seconds = time.monotonic() - self._last_time
        if self._save_seconds > _CHEAP_SECONDS and seconds < self._save_seconds / _MOST_SHARE:
            return False  # the period stretches until it costs no more than that
        minutes = seconds / 60
        return (self.every_steps is not None and step - self._last_step >= self.every_steps) or (
            self.every_minutes is not None and minutes >= self.every_minutes
        )

    def _better(self, trainer: lightning.Trainer, evaluation: Mapping[str, float]) -> float | None:
        """The monitored value where it is a new best, else None; an evaluation counts for its own step only."""
        if self.monitor is None:
            return None
        metrics = evaluation if self.monitor.startswith("eval/") else trainer.callback_metrics
        value = float(metrics.get(self.monitor, math.nan))
        if math.isnan(value):
            return None
        new = self.best is None or (value > self.best if self.mode == "max" else value < self.best)
        return value if new else None

    def _save(self, trainer: lightning.Trainer, module: GRPOModule, best: float | None) -> None:
        """``best``: a new best, which is one only once its checkpoint is on the disk."""
        before, begun = self.best, time.monotonic()
        self.best = before if best is None else best  # for the state
        try:
            state = collect_state(trainer, module) | {"identity": self.identity}
            if has_shards(state):
                state = self._in_shards(state, module)
            module.ranks.first(lambda: self._write(state, module.counters.step, best is not None))
        except BaseException:
            self.best = before
            raise
        self._last_step, self._last_time = module.counters.step, time.monotonic()
        self._save_seconds = self._last_time - begun

    def _in_shards(self, state: Mapping[str, Any], module: GRPOModule) -> dict[str, Any]:
        """The state with its tensors in shards written by all ranks. Raises CheckpointFailed where one could not."""
        try:
            return write_shards(state, self.store.folder, module.counters.step, module.ranks)
        except (OSError, RuntimeError, CheckpointException) as fault:
            raise self.store.not_written(module.counters.step, fault) from fault

    def _write(self, state: Mapping[str, Any], step: int, better: bool) -> None:
        self._list(self.store.save(state, step, best=better, after=self.durable), step)

    def _list(self, saved: Saved, step: int) -> None:
        """Adds size and seconds to ``saves.csv``; the checkpoint is good without it."""
        path = self.store.folder / "saves.csv"
        new = not path.exists()
        try:
            with open(path, "a", newline="") as file:
                writer = csv.writer(file)
                if new:
                    writer.writerow(["step", "bytes", "seconds"])
                writer.writerow([step, saved.size, f"{saved.seconds:.4f}"])
        except OSError as fault:
            warnings.warn(f"{path} could not be written ({fault})", stacklevel=2)


def _why(trainer: lightning.Trainer, step: int) -> str:
    """Which callback ended the run, and its reason, as far as they say so."""
    reasons = [
        f": {callback.stopping_reason_message}"
        for callback in trainer.callbacks  # type: ignore[attr-defined]
        if isinstance(callback, EarlyStopping) and callback.stopping_reason_message
    ]
    return f"stopped after step {step} by {'EarlyStopping' if reasons else 'a callback'}{''.join(reasons[:1])}"
