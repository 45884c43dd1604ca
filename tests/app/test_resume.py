"""Which checkpoint a run goes on from, and what is refused."""

from __future__ import annotations

import shutil
import zipfile

import pytest
import torch
from rich.console import Console

from gainrl.app.errors import ConfigError, RunRefused
from gainrl.app.resume import check_given, find_checkpoint, given_checkpoint, run_identity
from gainrl.datasets.splits import DataSplits
from gainrl.models.tiny import TinyModel
from gainrl.training.evaluation import EvaluationSet
from gainrl.training.upkeep.checkpoints import CheckpointStore, read_checkpoint
from tests.training.resumable import problems

POLICY = TinyModel(hidden_size=8, intermediate_size=8, layers=1, heads=2).load()
PLAIN = {"seed": 0, "optimizer": {"lr": 0.1}, "records": {"every": 1}, "identity_excludes": ["records"]}


def identity(plain=PLAIN, part: str = "train", evaluated: int = 3):
    splits = DataSplits(train=problems(part, range(4)), held_out=problems("held", range(3)))
    sets = [EvaluationSet("sums", problems("sums", range(evaluated)), reward=None)]
    return run_identity(plain, splits, sets, POLICY)


def state_of(step: int) -> dict:
    return {
        "counters": {"step": step},
        "identity": identity(),
        "callbacks": {"SignalRefresh": {"file": "signal-000000.npz"}, "Checkpoints": {"best": 0.5}},
    }


@pytest.fixture
def store(tmp_path) -> CheckpointStore:
    """Of a run directory with its records, the best of whose steps was the second."""
    store = CheckpointStore(tmp_path / "checkpoints", keep=3)
    for step in (1, 2, 3):
        store.save(state_of(step), step, best=step == 2)
    (tmp_path / "record.json").write_text("{}")
    (tmp_path / "metrics.csv").write_text("step\n1\n2\n3\n")
    (tmp_path / "rollouts.jsonl").write_text('{"step": 1}\n')
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "signal-000000.npz").write_bytes(b"x")
    return store


def begun(folder, *steps: int) -> CheckpointStore:
    """A new run directory, with checkpoints of its own at ``steps``."""
    store = CheckpointStore(folder / "checkpoints", keep=3)
    for step in steps:
        store.save(state_of(step), step)
    return store


def find(store, tmp_path, given=None, expected=None):
    return find_checkpoint(given, tmp_path, store, expected or identity(), Console(quiet=True))


def test_the_newest_is_taken(store, tmp_path):
    assert find(store, tmp_path)["counters"]["step"] == 3


def test_only_the_rank_that_writes_verifies_the_whole_file(store, tmp_path, monkeypatch):
    """The others map what rank 0 has verified: a checkpoint of many GB is read to its end once, not once a rank."""
    verified = []
    honest = zipfile.ZipFile.testzip
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda file: verified.append(file.filename) or honest(file))
    for writes in (False, True):
        find_checkpoint(None, tmp_path, store, identity(), Console(quiet=True), writes=writes)
        assert len(verified) == int(writes)


def test_a_new_directory_has_none(tmp_path):
    assert find(CheckpointStore(tmp_path / "checkpoints"), tmp_path) is None


def test_a_run_that_has_passed_the_given_one_keeps_what_it_has(store, tmp_path):
    """As when the command is killed, or requeued, and repeated."""
    given = str(tmp_path / "checkpoints" / "step-000002.ckpt")
    new = tmp_path / "new"
    assert find(begun(new), new, given)["counters"]["step"] == 2
    again = begun(new, 3, 4)
    assert find(again, new, given)["counters"]["step"] == 4
    assert [step for step, _ in again.steps()] == [3, 4]
    assert find(store, tmp_path, given)["counters"]["step"] == 3
    assert [step for step, _ in store.steps()] == [1, 2, 3]


def test_a_run_that_has_begun_does_without_the_given_one(tmp_path):
    new = tmp_path / "new"
    begun(new, 4)
    signals = new / "signals"
    signals.mkdir()
    (signals / "signal-000000.npz").write_bytes(b"x")
    assert find(begun(new), new, str(tmp_path / "gone.ckpt"))["counters"]["step"] == 4


def test_another_setting_is_refused_with_the_difference(store, tmp_path):
    with pytest.raises(RunRefused, match=r"config.optimizer.lr: 0.1 there, 0.2 now"):
        find(store, tmp_path, expected=identity(PLAIN | {"optimizer": {"lr": 0.2}}))


def test_a_setting_that_decides_no_number_may_change(store, tmp_path):
    assert find(store, tmp_path, expected=identity(PLAIN | {"records": {"every": 2}})) is not None


def test_changed_problems_are_refused(store, tmp_path):
    with pytest.raises(RunRefused, match=r"data.train: '\w+' there, '\w+' now"):
        find(store, tmp_path, expected=identity(part="other"))


def test_changed_problems_of_an_evaluation_set_are_refused(store, tmp_path):
    with pytest.raises(RunRefused, match=r"data.eval/sums: '\w+' there, '\w+' now"):
        find(store, tmp_path, expected=identity(evaluated=2))


def test_other_weights_at_the_start_are_refused(store, tmp_path):
    other = identity() | {"weights at the start": "0"}
    with pytest.raises(RunRefused, match="weights at the start"):
        find(store, tmp_path, expected=other)


def test_a_refusal_leaves_the_checkpoints_alone(store, tmp_path):
    with pytest.raises(RunRefused):
        find(store, tmp_path, given=str(store.steps()[0][1]), expected=identity(part="other"))
    assert len(store.steps()) == 3


def test_a_run_directory_stands_for_its_newest_checkpoint(store, tmp_path):
    for given in (tmp_path, tmp_path / "checkpoints"):
        assert given_checkpoint(str(given), read_checkpoint)[0] == store.steps()[-1][1]


def test_a_run_directory_with_a_torn_newest_checkpoint_stands_for_the_one_before(store, tmp_path):
    torn = store.steps()[-1][1]
    torn.write_bytes(torn.read_bytes()[:100])
    new = tmp_path / "new"
    with pytest.warns(UserWarning, match="step-000003.ckpt cannot be read.*, going back to the checkpoint before"):
        assert find(begun(new), new, str(tmp_path))["counters"]["step"] == 2
    assert torn.exists()  # in the directory of another run nothing is renamed


def test_a_path_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="neither a checkpoint nor a run directory"):
        given_checkpoint(str(tmp_path), read_checkpoint)


def test_a_given_file_that_is_torn_is_refused(store, tmp_path):
    torn = store.steps()[-1][1]
    torn.write_bytes(torn.read_bytes()[:100])
    with pytest.raises(ConfigError, match="cannot be read"):
        find(begun(tmp_path / "new"), tmp_path / "new", str(torn))


def test_records_come_along_into_a_new_directory(store, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    find(begun(new), new, str(store.steps()[1][1]))
    assert (new / "metrics.csv").read_text() == "step\n1\n2\n3\n"
    assert (new / "rollouts.jsonl").read_text() == '{"step": 1}\n'
    assert (new / "signals" / "signal-000000.npz").exists()
    assert len(store.steps()) == 3


def test_records_that_end_before_the_given_checkpoint_are_replaced_and_later_ones_kept(store, tmp_path):
    new = tmp_path / "new"
    own = begun(new, 1)
    (new / "metrics.csv").write_text("step\n1\n")
    find(own, new, str(tmp_path))
    assert (new / "metrics.csv").read_text() == "step\n1\n2\n3\n"
    (new / "metrics.csv").write_text("step\n1\n2\n3\n4\n")  # it went on, and was killed before its checkpoint
    find(own, new, str(tmp_path))
    assert (new / "metrics.csv").read_text() == "step\n1\n2\n3\n4\n"


def test_the_best_checkpoint_comes_along_unless_it_is_later(store, tmp_path):
    new, early = tmp_path / "new", tmp_path / "early"
    find(begun(new), new, str(tmp_path))
    assert read_checkpoint(new / "checkpoints" / "best.ckpt")["counters"]["step"] == 2
    with pytest.warns(UserWarning, match="no best.ckpt beside"):
        find(begun(early), early, str(store.steps()[0][1]))
    assert not (early / "checkpoints" / "best.ckpt").exists()


def test_a_checkpoint_without_its_signal_is_refused_before_anything_is_written(store, tmp_path):
    bare = tmp_path / "backup" / "some" / "step-000003.ckpt"
    bare.parent.mkdir(parents=True)
    shutil.copyfile(store.steps()[-1][1], bare)
    new = tmp_path / "new"
    splits = DataSplits(train=problems("train", range(4)), held_out=problems("held", range(3)))
    sets = [EvaluationSet("sums", problems("sums", range(3)), reward=None)]
    with pytest.raises(ConfigError, match=r"backup/signals/signal-000000.npz, which is not there. Copy the folder"):
        check_given(str(bare), new, PLAIN, splits, sets)
    assert not new.exists()
    shutil.copytree(tmp_path / "signals", bare.parent / "signals")
    check_given(str(bare), new, PLAIN, splits, sets)
    with pytest.warns(UserWarning, match="no best.ckpt"):
        assert find(begun(new), new, str(bare))["counters"]["step"] == 3
    assert (new / "signals" / "signal-000000.npz").exists()
    with pytest.raises(RunRefused, match=r"data.held_out: '\w+' there, '\(absent\)' now"):
        check_given(str(bare), tmp_path / "other", PLAIN, DataSplits(train=splits.train, held_out=None), sets)


def test_a_directory_of_which_no_checkpoint_can_be_read_is_refused_and_left_as_it_is(store, tmp_path):
    for _, path in store.steps():
        torn = path.read_bytes()[:100]
        path.unlink()  # the best may be the same file
        path.write_bytes(torn)
    before = sorted(path.name for path in store.folder.iterdir())
    with pytest.raises(RunRefused, match=r"none of the checkpoints.*Nothing was changed. Type resume=\S+best.ckpt"):
        find(store, tmp_path)
    assert sorted(path.name for path in store.folder.iterdir()) == before
    with pytest.warns(UserWarning, match="none of the checkpoints"):
        assert find(store, tmp_path, str(store.folder / "best.ckpt"))["counters"]["step"] == 2
    assert "step-000003.unreadable" in [path.name for path in store.folder.iterdir()]


def test_the_identity_is_plain(store, tmp_path):
    torch.save(identity(PLAIN | {"weights": {1: 0.5}}), tmp_path / "x")
    assert torch.load(tmp_path / "x", weights_only=True)["config"]["weights"] == {"1": 0.5}


def test_more_steps_prolong_a_given_checkpoint_and_fewer_are_refused(store, tmp_path):
    plain = PLAIN | {"schedule": {"steps": 3}}
    of_three = CheckpointStore(tmp_path / "three" / "checkpoints", keep=3)
    of_three.save(state_of(3) | {"identity": identity(plain)}, 3)
    (tmp_path / "three" / "signals").mkdir()
    (tmp_path / "three" / "signals" / "signal-000000.npz").write_bytes(b"x")
    new, given = tmp_path / "new", str(tmp_path / "three")
    longer, shorter = identity(plain | {"schedule": {"steps": 5}}), identity(plain | {"schedule": {"steps": 2}})
    with pytest.warns(UserWarning, match="no best.ckpt"):
        assert find_checkpoint(given, new, begun(new), longer, Console(quiet=True))["counters"]["step"] == 3
    with pytest.raises(RunRefused, match=r"schedule\.steps: 3 there, 2 now"):
        find_checkpoint(given, tmp_path / "x", begun(tmp_path / "x"), shorter, Console(quiet=True))
    with pytest.raises(RunRefused, match=r"schedule\.steps: 3 there, 5 now"):  # its own directory holds another run
        find_checkpoint(None, tmp_path / "three", of_three, longer, Console(quiet=True))
