"""What a person sees while a run goes on: phase, step, reward, accuracy, informative groups, tokens per second, ETA."""

from __future__ import annotations

import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from gainrl.training.callbacks.evaluation import fresh_evaluation
from gainrl.training.callbacks.heartbeat import remaining, spoken
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.grpo import GRPOModule
from gainrl.training.runtime import PhaseClock


class ProgressDisplay(Callback):
    """A live line on a terminal; elsewhere one line per evaluation, so that log files stay readable."""

    def __init__(self, *, console: Console | None = None) -> None:
        self.console = console or Console()
        self._progress: Progress | None = None
        self._task: Any = None
        self._tokens = 0
        self._since = time.perf_counter()
        self._reported_at: int | None = None

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begins the live line, which shows how far the evaluation before the first step is."""
        assert isinstance(pl_module, GRPOModule)
        if not trainer.is_global_zero or not self.console.is_terminal:
            return
        data: PromptDataModule = trainer.datamodule  # type: ignore[attr-defined]
        self._progress = Progress(
            Doing(pl_module.clock),
            BarColumn(bar_width=18),
            MofNCompleteColumn(),
            TextColumn("{task.fields[line]}"),
            TextColumn("ETA {task.fields[left]}"),
            console=self.console,
            transient=True,
        )
        done = pl_module.counters.step  # of a run that is resumed
        self._task = self._progress.add_task("", total=data.pool.total_steps, completed=done, line="", left="?")
        self._progress.start()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GRPOModule)
        if not trainer.is_global_zero:
            return
        self._tokens, self._since = pl_module.counters.generated_tokens, time.perf_counter()
        self._report(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, GRPOModule)
        if not trainer.is_global_zero:
            return
        if self._progress is not None:
            seconds = max(time.perf_counter() - self._since, 1e-9)
            row = outputs["metrics"]
            speed = (pl_module.counters.generated_tokens - self._tokens) / seconds
            line = (
                f"reward {row['reward']:.2f}  accuracy {row['accuracy']:.0%}  "
                f"informative {row['informative_groups']:.0%}  {speed:,.0f} tokens/s"
            )
            step, left = pl_module.counters.step, spoken(remaining(trainer, pl_module)[1])
            self._progress.update(self._task, completed=step, line=line, left=left)
        self._report(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GRPOModule)
        self._stop()
        if trainer.is_global_zero:
            self._report(trainer, pl_module)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _report(self, trainer: lightning.Trainer, module: GRPOModule) -> None:
        """One line whenever held-out accuracy is new."""
        step = module.counters.step
        metrics = fresh_evaluation(trainer, step)
        if "eval/accuracy" not in metrics or self._reported_at == step:
            return
        self._reported_at = step
        groups = {
            kind: [f"{value:.2f}" for name, value in metrics.items() if name.startswith(f"eval/accuracy/{kind}_")]
            for kind in ("level", "source")
        }
        counters = module.counters
        data: PromptDataModule = trainer.datamodule  # type: ignore[attr-defined]
        text = f"step {counters.step:>5}/{data.pool.total_steps}  held-out accuracy {metrics['eval/accuracy']:.3f}"
        text += "".join(f"  by {kind} {' '.join(values)}" for kind, values in groups.items() if values)
        seconds = sum(module.clock.seconds.values())
        self.console.print(f"{text}  [dim]{counters.prompts:,} prompts, {seconds:.0f} s[/dim]", highlight=False)


class Doing(ProgressColumn):
    """What the run is doing when the line is drawn."""

    def __init__(self, clock: PhaseClock) -> None:
        super().__init__()
        self._clock = clock

    def render(self, task: Task) -> Text:
        return Text(f"{self._clock.doing:<10}", style="bold")
