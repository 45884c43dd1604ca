"""When checkpoints are written, and what they are."""

from __future__ import annotations

import csv

import pytest
import torch

import gainrl.files
from gainrl.training.callbacks import checkpoint as callback
from gainrl.training.callbacks.checkpoint import Checkpoints
from gainrl.training.upkeep import checkpoints as files
from gainrl.training.upkeep.checkpoints import CheckpointStore
from gainrl.training.upkeep.interruption import Interrupted, StopRequest
from tests.training.resumable import STEPS, run


def kept(folder) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").glob("*.ckpt"))


def with_metric(values):
    """Makes ``eval/accuracy`` of each evaluation what the test says."""
    left = list(values)

    def alter(module, checkpoints) -> None:
        checkpoints.monitor = "wanted"
        honest = module.training_step

        def step(*arguments):
            outputs = honest(*arguments)
            module.log_dict({"wanted": left.pop(0)}, logger=False)
            return outputs

        module.training_step = step

    return alter


@pytest.mark.parametrize(("mode", "best"), [("max", 5), ("min", 3)])
def test_the_best_by_the_monitored_metric_is_kept(tmp_path, mode, best):
    values = [0.5, 0.5, 0.1, 0.2, 0.9, 0.9, 0.3]

    def alter(module, checkpoints) -> None:
        with_metric(values)(module, checkpoints)
        checkpoints.mode = mode

    run(tmp_path, alter=alter, every_steps=None)
    assert torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["counters"]["step"] == best
    assert f"step-{STEPS:06d}.ckpt" in kept(tmp_path)


def test_a_best_that_could_not_be_saved_is_none(tmp_path):
    """The update of step 3 is skipped, and nothing is saved until there is a good one."""

    def alter(module, checkpoints) -> None:
        with_metric([0.1, 0.2, 0.9, 0.5, 0.6, 0.3, 0.4])(module, checkpoints)
        honest = module.learner.micro_batch_loss

        def loss(*arguments):
            result = honest(*arguments)
            return type(result)(result.loss * torch.nan, result.sums) if module.counters.step == 2 else result

        module.learner.micro_batch_loss = loss

    with pytest.warns(UserWarning, match="skipped"):
        state = run(tmp_path, alter=alter, every_steps=None)
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["counters"]["step"] == 5
    assert best["callbacks"]["Checkpoints"]["best"] == state["callbacks"]["Checkpoints"]["best"] == 0.6


def test_a_best_whose_save_failed_is_none(tmp_path):
    kept_ones = []

    def alter(module, checkpoints) -> None:
        with_metric([0.1, 0.9])(module, checkpoints)
        honest = checkpoints.store.save

        def save(state, step, **named):
            if step == 2:
                raise files.CheckpointFailed("full")
            return honest(state, step, **named)

        checkpoints.store.save = save
        kept_ones.append(checkpoints)

    with pytest.raises(files.CheckpointFailed):
        run(tmp_path, alter=alter, every_steps=None)
    assert kept_ones[0].best == 0.1


def test_a_period_in_minutes_saves_when_they_have_passed(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(callback.time, "monotonic", lambda: now[0])
    saved = []

    def alter(module, checkpoints) -> None:
        checkpoints.every_minutes, checkpoints.monitor = 1.0, None
        honest, honest_save = module.training_step, checkpoints.store.save

        def step(*arguments):
            now[0] += 25.0
            return honest(*arguments)

        def save(state, step, **named):
            saved.append(step)
            return honest_save(state, step, **named)

        module.training_step, checkpoints.store.save = step, save

    run(tmp_path, alter=alter, every_steps=None)
    assert saved == [3, 6, 7]  # 75 s, 150 s, and the last step


def test_size_and_seconds_of_every_save_are_logged(tmp_path):
    run(tmp_path, every_steps=3)
    with open(tmp_path / "checkpoints" / "saves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {3, 6, 7} <= {int(row["step"]) for row in rows}
    last = tmp_path / "checkpoints" / f"step-{STEPS:06d}.ckpt"
    assert int(rows[-1]["bytes"]) == last.stat().st_size
    assert float(rows[-1]["seconds"]) > 0
    with open(tmp_path / "metrics.csv", newline="") as file:
        assert float(list(csv.DictReader(file))[-1]["seconds/checkpoint"]) > 0


def test_a_checkpoint_of_a_run_loads_with_weights_only(tmp_path):
    run(tmp_path, steps=2)
    state = torch.load(tmp_path / "checkpoints" / "step-000002.ckpt", weights_only=True)
    assert state["counters"]["step"] == 2
    assert {"weights", "optimizers", "schedules", "data", "callbacks", "counters"} <= set(state)


def test_the_records_of_a_step_are_on_the_disk_before_its_checkpoint(tmp_path, monkeypatch):
    order = []
    honest = files.write_checkpoint
    for module in (files, gainrl.files):
        monkeypatch.setattr(module, "sync", lambda path: order.append(path.name))
    monkeypatch.setattr(files, "write_checkpoint", lambda state, path: (honest(state, path), order.append(path.name)))
    records = [tmp_path / "metrics.csv", tmp_path / "rollouts.jsonl"]
    CheckpointStore(tmp_path / "checkpoints").save({"counters": {"step": 1}}, 1, after=records)
    draft = ".step-000001.ckpt.draft"
    assert order == ["metrics.csv", "rollouts.jsonl", draft, "checkpoints", "step-000001.ckpt"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every_steps": 0}, "checkpoint.every_steps=0 must be positive"),
        ({"every_steps": 1, "every_minutes": -1.0}, "checkpoint.every_minutes=-1.0 must be positive"),
        ({"every_steps": 1, "mode": "mean"}, "checkpoint.mode='mean' is unknown; use max or min"),
    ],
)
def test_periods_and_modes_that_make_no_sense_are_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        Checkpoints(store=CheckpointStore(tmp_path), identity={}, **settings)


class Clock:
    """Steps take ``step`` seconds and each checkpoint ``save``, for whoever asks for the time."""

    def __init__(self, monkeypatch, *, step, save):
        self.now = 0.0
        monkeypatch.setattr(callback.time, "monotonic", lambda: self.now)
        self.step, self.save = step, save

    def __call__(self, module, checkpoints) -> None:
        honest, write = module.training_step, checkpoints._write

        def slow_step(*arguments):
            self.now += self.step
            return honest(*arguments)

        def slow_write(*arguments):
            self.now += self.save
            return write(*arguments)

        module.training_step, checkpoints._write = slow_step, slow_write


def steps_saved(folder):
    with open(folder / "checkpoints" / "saves.csv", newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def test_checkpoints_that_take_long_are_further_apart(tmp_path, monkeypatch):
    """60 s of writing may come once in 2000 s, so every second step of 1000 s, and after the last."""
    run(tmp_path / "dear", alter=Clock(monkeypatch, step=1000.0, save=60.0), every_steps=1)
    assert steps_saved(tmp_path / "dear") == [1, 3, 5, 7]
    run(tmp_path / "cheap", alter=Clock(monkeypatch, step=1.0, save=0.9), every_steps=1)
    assert steps_saved(tmp_path / "cheap") == [1, 2, 3, 4, 5, 6, 7]


def test_a_run_stops_before_its_hours_are_over_and_goes_on(tmp_path, monkeypatch):
    """Four hours, steps of one, and a checkpoint of six minutes: a fourth step would end too late."""
    clock = Clock(monkeypatch, step=3600.0, save=360.0)

    def alter(module, checkpoints) -> None:
        clock(module, checkpoints)
        checkpoints.stop = StopRequest(max_hours=4.0)

    with pytest.raises(Interrupted, match=r"trainer.max_hours=4 after step 3"):
        run(tmp_path, alter=alter, every_steps=None)
    assert steps_saved(tmp_path) == [3]
    run(tmp_path, every_steps=None)
    assert steps_saved(tmp_path) == [3, STEPS]


def test_no_time_at_all_is_refused():
    with pytest.raises(ValueError, match=r"trainer.max_hours=0 leaves no time"):
        StopRequest(max_hours=0)
