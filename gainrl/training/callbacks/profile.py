"""A trace of a few steps, for chrome://tracing or Perfetto."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.profiler import ProfilerActivity, profile, record_function

from gainrl.training.datamodule import PromptDataModule
from gainrl.training.grpo import GRPOModule


class Trace(Callback):
    """Writes the operations of ``steps`` steps to ``path`` after ``skip`` steps that warm up.

    ``path`` ends in ``.json`` or ``.json.gz``. A run with fewer steps before it is traced as far as it goes, and its
    last step in any case.
    """

    def __init__(self, *, path: Path, skip: int = 1, steps: int = 2) -> None:
        self.path, self.skip, self.steps = path, skip, steps
        self._seen = 0
        self._profile: Any = None
        self._step: Any = None

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, GRPOModule)
        data: PromptDataModule = trainer.datamodule  # type: ignore[attr-defined]
        last = pl_module.counters.step + 1 >= data.pool.total_steps
        if trainer.is_global_zero and (self._seen == self.skip or (last and self._seen < self.skip)):
            activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
            self._profile = profile(activities=activities)
            self._profile.__enter__()
        if self._profile is not None:
            self._step = record_function(f"step {pl_module.counters.step + 1}")
            self._step.__enter__()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._seen += 1
        if self._step is not None:
            self._step.__exit__(None, None, None)
            self._step = None
        if self._seen == self.skip + self.steps:
            self._write()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._write()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._write()

    def _write(self) -> None:
        if self._profile is None:
            return
        self._profile.__exit__(None, None, None)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._profile.export_chrome_trace(str(self.path))
        self._profile = None
