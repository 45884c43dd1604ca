"""A run that was killed anywhere and resumed is the run that was never killed, in every bit but the seconds."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import pytest
import torch

from tests.training.resumable import ALGORITHMS, STEPS, KillAt, Killed, lives, rollouts, run, same_run, table


@functools.cache
def uninterrupted(folder: Path, curriculum: str, algorithm: str):
    return run(folder, curriculum=curriculum, algorithm=algorithm)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run without interruption: its folder and final state."""
    folders: dict[tuple[str, str], Path] = {}

    def of(curriculum: str = "gain", algorithm: str = "grpo"):
        folder = folders.setdefault((curriculum, algorithm), tmp_path_factory.mktemp("whole"))
        return folder, uninterrupted(folder, curriculum, algorithm)

    yield of
    uninterrupted.cache_clear()


def check(folder: Path, state, reference) -> None:
    there, expected = reference
    assert same_run(expected, state) == []
    assert table(folder) == table(there)
    assert [int(row["step"]) for row in table(folder)] == list(range(STEPS + 1))
    assert rollouts(folder) == rollouts(there)


POINTS = [
    ("rollout", 0),  # the evaluation before the first step
    ("rollout", 6),
    ("reward", 9),
    ("update", 3),
    ("evaluation", 1),
    ("refresh", 25),  # in the middle of the second measurement
    ("before the row", 5),
    ("after the row", 5),
    ("before the checkpoint", 1),
    ("after the checkpoint", 1),
    ("after the checkpoint", 2),
]


@pytest.mark.parametrize(("point", "call"), POINTS, ids=lambda value: str(value))
def test_a_kill_at_any_point_changes_nothing(tmp_path, whole, point, call):
    check(tmp_path, lives(tmp_path, [KillAt(point, call)]), whole())


# Every option of every group: tests/app/test_resume_of_every_part.py
@pytest.mark.parametrize(("curriculum", "algorithm"), zip(("gain", "sec", "mopps"), ALGORITHMS, strict=True))
def test_a_run_killed_in_an_update_and_before_a_checkpoint_is_the_same(tmp_path, whole, curriculum, algorithm):
    kills = [KillAt("update", 4), KillAt("before the checkpoint", 1)]
    state = lives(tmp_path, kills, curriculum=curriculum, algorithm=algorithm)
    check(tmp_path, state, whole(curriculum, algorithm))


@pytest.mark.parametrize("step", range(1, STEPS))
def test_a_checkpoint_of_any_step_continues_the_same_run(tmp_path, whole, step):
    kills = [KillAt("after the row", step)]  # the row of step 0 is the first
    state = lives(tmp_path, kills, algorithm="two inner epochs", every_steps=1)
    check(tmp_path, state, whole(algorithm="two inner epochs"))


def test_weights_and_optimizer_move_so_that_equality_means_something(tmp_path, whole):
    _, final = whole()
    with pytest.raises(Killed):
        run(tmp_path, kill=KillAt("after the checkpoint", 0))
    (path,) = (tmp_path / "checkpoints").glob("step-*.ckpt")
    early = torch.load(path, weights_only=True)
    assert early["counters"]["step"] == 2
    assert len(same_run(early, final)) > 10


def test_a_run_that_is_killed_again_and_again_arrives(tmp_path, whole):
    kills = [KillAt("update", 2), KillAt("rollout", 3), KillAt("after the row", 1), KillAt("evaluation", 0)]
    check(tmp_path, lives(tmp_path, kills), whole())


def test_a_torn_newest_checkpoint_falls_back_to_the_one_before_with_a_warning(tmp_path, whole):
    with pytest.raises(Killed):
        run(tmp_path, kill=KillAt("after the checkpoint", 2))
    *_, before, newest = sorted((tmp_path / "checkpoints").glob("step-*.ckpt"))
    newest.write_bytes(newest.read_bytes()[:-1000])
    with pytest.warns(UserWarning, match=f"{newest.name} cannot be read.*going back"):
        state = run(tmp_path)
    assert before.name < newest.name
    check(tmp_path, state, whole())


def test_a_flipped_bit_in_a_checkpoint_is_noticed(tmp_path, whole):
    with pytest.raises(Killed):
        run(tmp_path, kill=KillAt("after the checkpoint", 2))
    newest = max((tmp_path / "checkpoints").glob("step-*.ckpt"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match="going back"):
        state = run(tmp_path)
    check(tmp_path, state, whole())


def test_no_step_goes_to_a_logger_twice(tmp_path):
    tracked: list[int] = []
    lives(tmp_path, [KillAt("after the row", 4), KillAt("rollout", 1), KillAt("update", 1)], tracked=tracked)
    assert tracked == list(range(STEPS + 1))


def test_a_torn_last_row_of_the_table_is_written_again(tmp_path, whole):
    with pytest.raises(Killed):
        run(tmp_path, kill=KillAt("after the row", 3))
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-40])
    lines = tmp_path / "rollouts.jsonl"
    lines.write_bytes(lines.read_bytes()[:-30])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", module="lightning")
        state = run(tmp_path)
    check(tmp_path, state, whole())
