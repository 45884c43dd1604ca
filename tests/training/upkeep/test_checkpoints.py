"""Checkpoint files: whole or absent, checked, bounded in number."""

from __future__ import annotations

import errno
import os

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
