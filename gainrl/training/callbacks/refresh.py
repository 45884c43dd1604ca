"""When the signal is measured and given to the curriculum.

In `on_fit_start`, before the loader asks for its first batch, and in `on_train_epoch_end`, before checkpoints are
written: any other hook leaves the first epoch with a stale order, or the checkpoint with an old one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback

from gainrl.files import whole_file
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.grpo import GRPOModule
from gainrl.training.precision import in_training_precision
from gainrl.types import EpochFeedback, LiveSignal, SignalScores

Measure = Callable[[PromptDataModule, GRPOModule, np.ndarray | None], SignalScores | None]
"""Values of the signal on all rows of the pool (None), or on the rows given, under the current policy."""


MeasureConcentration = Callable[[PromptDataModule, GRPOModule, np.ndarray], Mapping[int, float]]
"""Concentration, by row, of the prompts at the rows given, by a forward pass of its own."""


MeasureStates = Callable[[PromptDataModule, GRPOModule, np.ndarray], np.ndarray]
"""``[R, D]`` hidden states of the prompts at the rows given, under the current policy."""


class SignalRefresh(Callback):
    """Starts the curriculum with the signal's values, and measures them again every ``every_epochs`` epochs.

    ``measure`` computes the values, or returns None for a run without a signal. ``every_epochs=None`` measures once,
    before training, as in the paper. Curricula get the concentration of the prompts that train from the update itself;
    ``measure_concentration`` serves epochs whose updates ran no prompt. ``measure_states``: for curricula that read
    hidden states (``wanted_states``), which are measured at every draw, or once for the whole pool.

    Values are kept in ``folder/signals``, so that a resumed run orders its prompts exactly as before; the checkpoint
    holds their file name.
    """

    def __init__(
        self,
        *,
        measure: Measure,
        folder: Path,
        every_epochs: int | None = None,
        measure_concentration: MeasureConcentration | None = None,
        measure_states: MeasureStates | None = None,
    ) -> None:
        if every_epochs is not None and every_epochs < 1:
            raise ValueError(
                f"schedule.refresh_every_epochs={every_epochs} must be 1 or more, or null to measure the signal once"
            )
        self.measure = measure
        self.measure_concentration = measure_concentration
        self.measure_states = measure_states
        self.folder = folder / "signals"
        self.every_epochs = every_epochs
        self.scores: SignalScores | None = None
        self._file: str | None = None
        self._states_file: str | None = None
        self._epoch_correct = self._epoch_valid = 0  # completions
        self._epoch_shown = False  # whether an update of this epoch showed the concentration of a prompt
        self._epoch_rows: list[int] = []

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GRPOModule)
        data: PromptDataModule = trainer.datamodule  # type: ignore[attr-defined]
        if self._file is not None:
            stored = np.load(self.folder / self._file, allow_pickle=False)
            self.scores = SignalScores(str(stored["name"]), stored["values"], str(stored["learn_first"]))  # type: ignore[arg-type]
        else:
            self._measure(data, pl_module)
        data.bind(self.scores, measure=partial(self._live, data, pl_module), states=self._states(data, pl_module))
        if self._epoch_rows and pl_module.counters.step % data.pool.steps_per_epoch == 0:
            self.on_train_epoch_end(trainer, pl_module)  # the last epoch of a run that is prolonged

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, GRPOModule)
        assert pl_module.experience is not None
        for group in pl_module.experience.groups:
            self._epoch_rows.append(group.row)
            self._epoch_correct += int(group.correct[group.valid].sum())
            self._epoch_valid += int(group.valid.sum())
        self._epoch_shown |= "concentration" in outputs["metrics"]

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GRPOModule)
        data: PromptDataModule = trainer.datamodule  # type: ignore[attr-defined]
        epoch = pl_module.counters.step // data.pool.steps_per_epoch
        if pl_module.counters.step >= data.pool.total_steps or pl_module.counters.step % data.pool.steps_per_epoch:
            return  # the run ends here, at its last step or because a callback stops it in the middle of an epoch
        if not self._epoch_shown and self.measure_concentration is not None:
            with pl_module.clock("refresh"), in_training_precision(trainer), pl_module.whole_policy():
                data.after_update(self.measure_concentration(data, pl_module, np.unique(self._epoch_rows)))
        accuracy = self._epoch_correct / self._epoch_valid if self._epoch_valid else float("nan")
        self._epoch_rows, self._epoch_correct, self._epoch_valid, self._epoch_shown = [], 0, 0, False
        if self.every_epochs is not None and self.scores is not None and epoch % self.every_epochs == 0:
            self._measure(data, pl_module)
            data.curriculum.refresh(self.scores)
        data.curriculum.end_epoch(EpochFeedback(epoch - 1, accuracy))

    def state_dict(self) -> dict[str, Any]:
        return {
            "file": self._file,
            "states": self._states_file,
            "rows": list(self._epoch_rows),
            "correct": self._epoch_correct,
            "valid": self._epoch_valid,
            "shown": self._epoch_shown,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._file, self._states_file = state_dict["file"], state_dict.get("states")
        self._epoch_rows = [int(row) for row in state_dict["rows"]]
        self._epoch_correct, self._epoch_valid = int(state_dict["correct"]), int(state_dict["valid"])
        self._epoch_shown = bool(state_dict["shown"])

    def _measure(self, data: PromptDataModule, module: GRPOModule) -> None:
        with module.clock("refresh"), in_training_precision(module.trainer), module.whole_policy():
            self.scores = self.measure(data, module, None)
        if self.scores is not None:
            self._file = f"signal-{module.counters.step:06d}.npz"
            module.ranks.first(partial(self._write, self._file, **asdict(self.scores)))

    def _write(self, file_name: str, **arrays: Any) -> None:
        with whole_file(self.folder / file_name, durable=True) as draft, open(draft, "wb") as file:
            np.savez(file, **arrays)

    def _states(self, data: PromptDataModule, module: GRPOModule) -> LiveSignal | None:
        """What gives the hidden states of some rows: the current policy, or the states kept from before training."""
        wanted = getattr(data.curriculum, "wanted_states", None)
        if wanted is None or self.measure_states is None:
            return None
        if wanted.live:
            return partial(self._live_states, data, module)
        if self._states_file is None:
            kept = self._live_states(data, module, np.arange(data.pool.size))
            self._states_file = f"states-{module.counters.step:06d}.npz"
            module.ranks.first(partial(self._write, self._states_file, states=kept))
        else:
            kept = np.load(self.folder / self._states_file, allow_pickle=False)["states"]
        return lambda rows: kept[rows]

    def _live_states(self, data: PromptDataModule, module: GRPOModule, rows: np.ndarray) -> np.ndarray:
        assert self.measure_states is not None
        with module.clock("refresh"), in_training_precision(module.trainer), module.whole_policy():
            return self.measure_states(data, module, rows)

    def _live(self, data: PromptDataModule, module: GRPOModule, rows: np.ndarray) -> np.ndarray:
        with module.clock("refresh"), in_training_precision(module.trainer), module.whole_policy():
            scores = self.measure(data, module, rows)
        if scores is None:
            raise ValueError("this curriculum measures a signal while it trains; choose one with signal=")
        return scores.values
