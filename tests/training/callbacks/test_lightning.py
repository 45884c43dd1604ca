"""Lightning's own callbacks and loggers beside ours, unchanged: they see every metric, under the rollout step."""

from __future__ import annotations

import csv
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.loggers.logger import Logger

from gainrl.training.callbacks import Checkpoints, Evaluation, Records
from gainrl.training.upkeep.checkpoints import CheckpointStore
from tests.training import resumable
from tests.training.resumable import EPOCH, STEPS, KillAt, Killed, same_run, table
from tests.training.rig import data_of, fit, module_of


class Kept(Logger):
    """A logger that keeps its steps and metrics."""

    name, version = "kept", 0

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, *arguments: Any, **named: Any) -> None: ...


class Own(Callback):
    """A user's callback that logs a metric of its own, as Lightning's documentation shows it."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *given: Any) -> None:
        pl_module.log("own/metric", 10.0 * pl_module.counters.step)


def run(folder, *more, steps: int = 4, logger: Any = False, done: int = 0):
    module = module_of(lr=0.01)
    module.counters.step = done
    data = data_of(module, steps=steps)
    ours = [Evaluation(every=2, samples=0, max_new_tokens=2), *more, Records(folder=folder)]
    trainer = fit(
        module,
        data,
        [*ours, Checkpoints(store=CheckpointStore(folder / "checkpoints"), every_steps=None)],
        logger=logger,
    )
    with open(folder / "metrics.csv", newline="") as file:
        return trainer, list(csv.DictReader(file))


def test_every_number_of_the_last_row_is_a_callback_metric_to_the_last_bit(tmp_path):
    trainer, rows = run(tmp_path, Own())
    unlogged = {"memory/peak_bytes", "checkpoint/bytes"}  # of rank 0 alone
    last = {name: float(text) for name, text in rows[-1].items() if text and name not in unlogged}
    assert {"step", "reward", "grad_norm", "eval/accuracy", "curriculum/pass", "seconds/rollout"} <= last.keys()
    for name, value in last.items():
        assert float(trainer.callback_metrics[name]) == pytest.approx(value, rel=0, abs=0, nan_ok=True), name


def test_what_another_callback_logs_is_a_column_of_the_table(tmp_path):
    _, rows = run(tmp_path, Own())
    assert [row["own/metric"] for row in rows] == ["", "10", "20", "30", "40"]


def test_the_steps_of_loggers_are_rollout_steps_whoever_logs(tmp_path):
    logger = Kept()
    run(tmp_path, LearningRateMonitor(logging_interval="step"), Own(), steps=2, logger=logger)
    steps = {name: [step for step, row in logger.rows if name in row] for name in ("reward", "lr-SGD", "own/metric")}
    assert steps["reward"] == steps["lr-SGD"] == [1, 2]
    assert set(steps["own/metric"]) == {1, 2}
    assert [row["step"] for _, row in logger.rows if "reward" in row] == [1.0, 2.0]
    resumed = Kept()
    run(tmp_path, LearningRateMonitor(logging_interval="step"), steps=4, logger=resumed, done=2)
    assert [step for step, row in resumed.rows if "lr-SGD" in row] == [3, 4]
    assert [step for step, row in resumed.rows if "reward" in row] == [3, 4]


class Pair(Callback):
    """Logs the same pair of numbers in both ways: for callbacks only, and for loggers too."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *given: Any) -> None:
        step = pl_module.counters.step
        pl_module.log_dict({"short/whole": step, "short/third": step / 3}, logger=False)
        pl_module.log_dict({"long/whole": float(step), "long/third": step / 3}, on_step=True)


def test_both_ways_of_log_dict_give_callbacks_the_same_numbers(tmp_path):
    logger = Kept()
    trainer, rows = run(tmp_path, Pair(), steps=2, logger=logger)
    for name in ("whole", "third"):
        short, long = (float(trainer.callback_metrics[f"{way}/{name}"]) for way in ("short", "long"))
        assert short == pytest.approx(long, rel=1e-6)
    assert [float(row["short/third"]) for row in rows[1:]] == [1 / 3, 2 / 3]
    assert [step for step, row in logger.rows if "long/third" in row] == [1, 2]
    assert not any("short/third" in row for _, row in logger.rows)


def test_a_model_checkpoint_keeps_the_best_by_a_metric_of_ours(tmp_path):
    best = ModelCheckpoint(dirpath=tmp_path / "lightning", filename="{step:03.0f}", monitor="reward", mode="max")
    _, rows = run(tmp_path, best)
    ends = [float(row["reward"]) for row in rows[2::2]]  # of steps 2 and 4, where epochs end
    assert float(best.best_model_score) == max(ends)
    assert [path.name for path in (tmp_path / "lightning").iterdir()] == [
        f"step=00{2 * ends.index(max(ends)) + 2}.ckpt"
    ]
    assert torch.load(best.best_model_path, weights_only=True)["counters"]["step"] in (2, 4)


def test_a_progress_bar_shows_reward_and_accuracy(tmp_path):
    bar = RichProgressBar()
    trainer, rows = run(tmp_path, bar, steps=2)
    shown = bar.get_metrics(trainer, trainer.lightning_module)
    assert (float(shown["reward"]), float(shown["accuracy"])) == (float(rows[2]["reward"]), float(rows[2]["accuracy"]))


def stopper() -> EarlyStopping:
    """Stops at the end of the first epoch: ``step`` is above 2 there."""
    return EarlyStopping(monitor="step", mode="max", patience=100, stopping_threshold=2.0)


def test_a_run_that_is_stopped_early_is_evaluated_saved_and_over(tmp_path):
    state = resumable.run(tmp_path, more=[stopper()], evaluate_every=2)
    assert state["counters"]["step"] == EPOCH < STEPS
    assert "stopped after step 3 by EarlyStopping" in state["callbacks"]["Checkpoints"]["stopped_early"]
    assert state["callbacks"]["KillingEvaluation"]["measured_at"] == EPOCH
    rows = table(tmp_path)
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]
    assert [bool(row["eval/accuracy"]) for row in rows] == [True, False, True, True]
    again = resumable.run(tmp_path, more=[stopper()], evaluate_every=2)
    assert same_run(state, again) == []
    assert table(tmp_path) == rows


def test_a_run_stopped_early_and_killed_before_its_last_evaluation_makes_up_for_it(tmp_path):
    whole = resumable.run(tmp_path / "whole", more=[stopper()], evaluate_every=2)
    with pytest.raises(Killed):  # the evaluations before it are those of steps 0 and 2
        resumable.run(tmp_path / "killed", more=[stopper()], evaluate_every=2, kill=KillAt("evaluation", 2))
    assert same_run(whole, resumable.run(tmp_path / "killed", more=[stopper()], evaluate_every=2)) == []
    assert table(tmp_path / "killed") == table(tmp_path / "whole")


def test_patience_survives_a_resume(tmp_path):
    """The number of the pass never falls, so that the second epoch exhausts a patience of 1, in one life or two."""

    def callbacks():
        return [EarlyStopping(monitor="curriculum/pass", mode="min", patience=1)]

    def known(state):  # Lightning counts the epochs of a life
        stopping = next(held for name, held in state["callbacks"].items() if name.startswith("EarlyStopping"))
        stopping.pop("stopped_epoch")
        return state

    whole = known(resumable.run(tmp_path / "whole", curriculum="uniform", more=callbacks()))
    assert whole["counters"]["step"] == 2 * EPOCH < STEPS
    with pytest.raises(Killed):
        resumable.run(tmp_path / "killed", curriculum="uniform", more=callbacks(), kill=KillAt("rollout", EPOCH + 5))
    resumed = resumable.run(tmp_path / "killed", curriculum="uniform", more=callbacks())
    assert same_run(whole, known(resumed)) == []


class Enough(Callback):
    """Ends the run after its first step, as Lightning's `Timer` does when time is up."""

    def on_train_batch_end(self, trainer: Any, *given: Any) -> None:
        trainer.should_stop = True


def test_a_run_can_be_ended_in_the_middle_of_an_epoch(tmp_path):
    trainer, rows = run(tmp_path, Enough())
    assert [row["step"] for row in rows] == ["0", "1"]
    assert rows[-1]["eval/accuracy"]
    assert [path.name for path in (tmp_path / "checkpoints").glob("*.ckpt")] == ["step-000001.ckpt"]
    assert trainer.lightning_module.counters.step == 1
