"""Checkpoint files: whole or absent, checked, bounded in number."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gainrl.training.upkeep.checkpoints import (
    CheckpointFailed,
    CheckpointStore,
    UnreadableCheckpoint,
    check_plain,
    read_checkpoint,
    write_checkpoint,
)
from gainrl.training.upkeep.state import restore_optimizers


def state(step: int = 1) -> dict:
    return {"counters": {"step": step}, "weights": {"w": torch.arange(1000.0)}}


def test_the_last_two_are_kept_and_the_best(tmp_path):
    store = CheckpointStore(tmp_path)
    for step in (1, 2, 10, 11):
        store.save(state(step), step, best=step == 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "step-000010.ckpt", "step-000011.ckpt"]
    assert read_checkpoint(tmp_path / "best.ckpt")["counters"]["step"] == 2
    assert store.newest()[1]["counters"]["step"] == 11


def test_size_and_seconds_are_told(tmp_path):
    saved = CheckpointStore(tmp_path).save(state(), 1)
    assert saved.size == saved.path.stat().st_size > 4000
    assert saved.seconds > 0


def test_where_no_checkpoint_can_be_read_nothing_is_changed(tmp_path):
    assert CheckpointStore(tmp_path).newest() is None
    for step in (2, 3):
        (tmp_path / f"step-00000{step}.ckpt").write_bytes(b"torn")
    with pytest.raises(UnreadableCheckpoint, match=r"none of the checkpoints in .* can be read: .*step-000003"):
        CheckpointStore(tmp_path).newest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000002.ckpt", "step-000003.ckpt"]


def test_the_best_and_its_name_are_on_the_disk_before_the_save_returns(tmp_path, monkeypatch):
    """Also where the file system has no links, and the best is a copy."""
    synced: list[str] = []
    monkeypatch.setattr("gainrl.files.sync", lambda path: synced.append(path.name))

    def without_links(*arguments):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", without_links)
    CheckpointStore(tmp_path / "kept").save(state(1), 1, best=True)
    assert synced == [".step-000001.ckpt.draft", "kept", ".best.ckpt.draft", "kept"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_last_checkpoint_as_it_was(tmp_path, monkeypatch, failing):
    store = CheckpointStore(tmp_path)
    good = store.save(state(1), 1).path
    content = good.read_bytes()

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(
        CheckpointFailed, match=r"step 2 could not be written .*No space left.*step-000001.ckpt is untou"
    ):
        store.save(state(2), 2)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001.ckpt"]
    assert good.read_bytes() == content


def test_later_checkpoints_and_drafts_are_forgotten(tmp_path):
    store = CheckpointStore(tmp_path, keep=5)
    for step in (1, 2, 3):
        store.save(state(step), step)
    (tmp_path / ".step-000004.ckpt.draft").write_bytes(b"half")
    store.forget_after(2)
    assert [step for step, _ in store.steps()] == [1, 2]
    assert not list(tmp_path.glob(".*"))


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save({"model": 1}, tmp_path / "other.ckpt")
    with pytest.raises(UnreadableCheckpoint, match="no checkpoint of a run"):
        read_checkpoint(tmp_path / "other.ckpt")


@pytest.mark.parametrize("value", [np.float64(1.0), np.zeros(2), object(), {1, 2}], ids=lambda v: type(v).__name__)
def test_values_that_could_not_be_loaded_are_refused_before_writing(tmp_path, value):
    with pytest.raises(TypeError, match=r"state\['callbacks'\]\['x'\]\[1\]"):
        write_checkpoint({"callbacks": {"x": [1, value]}}, tmp_path / "x.ckpt")
    assert not list(tmp_path.iterdir())


def test_plain_values_are_accepted():
    check_plain({"a": [1, 2.5, "x", None, True, (torch.ones(1), {3: "y"})]})


def test_keeping_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint\.keep=0"):
        CheckpointStore(tmp_path, keep=0)


def lies_in(path, tensor) -> bool:
    """Whether the memory of a tensor is that of a mapped file."""
    maps = (line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line)
    spans = [[int(end, 16) for end in line[0].split("-")] for line in maps]
    return any(start <= tensor.data_ptr() < stop for start, stop in spans)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not tell what is mapped")
def test_a_checkpoint_stays_on_the_disk_until_its_tensors_are_read(tmp_path):
    """Every rank of a run opens it, and none needs all of it at once."""
    path = tmp_path / "step-000001.ckpt"
    write_checkpoint({"counters": {"step": 1}, "weights": torch.arange(1000.0)}, path)
    tensor = read_checkpoint(path)["weights"]
    assert lies_in(path, tensor)
    assert tensor[7] == 7


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not tell what is mapped")
def test_an_optimizer_owns_what_it_restores(tmp_path):
    """The checkpoint that a run went on from is removed when it has written others."""
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    path = tmp_path / "step-000001.ckpt"
    write_checkpoint({"counters": {"step": 1}, "optimizers": [optimizer.state_dict()]}, path)
    state = {"schedules": [], "precision": {}} | read_checkpoint(path)
    fresh = torch.optim.AdamW([weight])
    trainer = SimpleNamespace(
        optimizers=[fresh],
        lr_scheduler_configs=[],
        precision_plugin=SimpleNamespace(load_state_dict=lambda state: None),
    )
    restore_optimizers(state, trainer)
    held = fresh.state[weight]["exp_avg"]
    assert lies_in(path, state["optimizers"][0]["state"][0]["exp_avg"])
    assert not lies_in(path, held)
    torch.testing.assert_close(held, optimizer.state[weight]["exp_avg"], rtol=0, atol=0)
