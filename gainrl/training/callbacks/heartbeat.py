"""How far a run is, where each step takes long: a line in the log now and then, and the time that is left."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event, Thread
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from gainrl.training.callbacks.evaluation import Evaluation
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.grpo import GRPOModule

_EVERY_SECONDS = 15.0
_NOT_OF_A_STEP = ("evaluation", "refresh")


class Heartbeat(Callback):
    """In a log file, prints every 15 seconds what the run is doing: step, phase, seconds a step, and the time left.

    A model of millions of parameters takes a minute for what a tiny one does in a tenth of a second. A thread reads
    the module's clock, so that a line appears in the middle of a long phase as well. A terminal has its live line
    instead (`callbacks.progress`).
    """

    def __init__(self, *, console: Console) -> None:
        self.console = console
        self._ended = Event()
        self._total = 0
        self._line = ""

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GRPOModule)
        if not trainer.is_global_zero or self.console.is_terminal:
            return
        data: PromptDataModule = trainer.datamodule  # type: ignore[attr-defined]
        self._total, self._ended = data.pool.total_steps, Event()
        Thread(target=self._run, args=(pl_module, self._ended), name="gainrl heartbeat", daemon=True).start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, GRPOModule)
        pace, left = remaining(trainer, pl_module)  # here, where no step is half done
        row = outputs["metrics"]
        self._line = (
            f"  reward {row['reward']:.2f}, informative {row['informative_groups']:.0%}, {pace:.1f} s a step, "
            f"{spoken(left)} left"
        )

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._ended.set()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._ended.set()

    def beat(self, module: GRPOModule) -> None:
        """Prints one line."""
        text = f"step {module.counters.step:>5}/{self._total}  {module.clock.doing}{self._line}"
        self.console.print(text, style="dim", highlight=False)

    def _run(self, module: GRPOModule, ended: Event) -> None:
        while not ended.wait(_EVERY_SECONDS):
            self.beat(module)


def remaining(trainer: lightning.Trainer, module: GRPOModule) -> tuple[float, float]:
    """`time_left` of a run of which one step or more is done."""
    data: PromptDataModule = trainer.datamodule  # type: ignore[attr-defined]
    evaluation = next((c for c in trainer.callbacks if isinstance(c, Evaluation)), None)  # type: ignore[attr-defined]
    every = None if evaluation is None else evaluation.every
    return time_left(module.clock.seconds, step=module.counters.step, total=data.pool.total_steps, every=every)


def time_left(seconds: Mapping[str, float], *, step: int, total: int, every: int | None) -> tuple[float, float]:
    """Seconds that a step takes, and seconds until the end, from those of each phase up to now.

    ``step`` of ``total`` steps are done (1 or more). Evaluations, one before the first step, after each ``every`` steps
    and after the last, are counted apart from steps, since one of them can take as long as ten steps. The signal's pass
    is over before the first step.
    """
    a_step = sum(value for phase, value in seconds.items() if phase not in _NOT_OF_A_STEP) / step
    left = a_step * (total - step)
    if every is not None:
        done, all_of_them = 1 + step // every, 1 + -(-total // every)
        left += seconds.get("evaluation", 0.0) / done * max(0, all_of_them - done)
    return a_step, left


def spoken(seconds: float) -> str:
    """Minutes, or seconds below two minutes."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
