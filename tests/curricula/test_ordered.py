import numpy as np
import pytest

from gainrl.curricula.ordered import OrderedCurriculum
from gainrl.curricula.pool import PromptPool
from gainrl.types import SignalScores


def started(size: int = 20, prompts: int = 2, epoch: int = 5, steps: int = 10, **settings) -> OrderedCurriculum:
    curriculum = OrderedCurriculum(**settings)
    curriculum.start(PromptPool(size, prompts, epoch, steps, 8), SignalScores("length", np.arange(size), "low"), 0)
    return curriculum


def walk(curriculum: OrderedCurriculum, steps: int, n: int = 2) -> list[list[int]]:
    rows = []
    for _ in range(steps):
        rows.append(curriculum.propose(n).tolist())
        curriculum._pool.counters.step += 1
    return rows


def test_a_stretched_pass_ends_with_the_run():
    assert walk(started(), 10) == [[2 * t, 2 * t + 1] for t in range(10)]
    assert walk(started(hard_first=True), 10)[0] == [19, 18]
    assert walk(started(hard_first=True), 10)[-1] == [1, 0]


def test_prompts_without_a_difficulty_come_last_from_either_end():
    values = np.array([np.nan, 1.0, 2.0, np.nan, 3.0])
    for hard_first, first in ((False, [1, 2, 4]), (True, [4, 2, 1])):
        curriculum = OrderedCurriculum(hard_first=hard_first)
        curriculum.start(PromptPool(5, 1, 5, 5, 8), SignalScores("label", values, "low"), 0)
        assert [row for step in walk(curriculum, 5, 1) for row in step][:3] == first


def test_a_run_longer_than_the_pool_stays_longer_at_each_difficulty():
    rows = walk(started(size=5, steps=7), 7)
    assert rows == [[0, 1], [0, 1], [1, 2], [2, 3], [2, 3], [2, 3], [3, 4]]


def test_a_run_shorter_than_the_pool_still_reaches_its_end():
    assert walk(started(size=100, steps=3), 3) == [[0, 1], [49, 50], [98, 99]]


def test_sorted_epochs_cover_the_pool_and_rise_within_each():
    rows = walk(started(mode="sorted_epochs"), 20)
    epochs = [[row for step in rows[start : start + 5] for row in step] for start in (0, 5, 10, 15)]
    assert all(epoch == sorted(epoch) for epoch in epochs)
    assert sorted(epochs[0] + epochs[1]) == sorted(epochs[2] + epochs[3]) == list(range(20))
    assert epochs[0] != epochs[2]


def test_refills_are_of_the_difficulty_of_the_step():
    curriculum = started()
    assert curriculum.propose(2, exclude=[8, 9]).tolist() == [7, 10]


def test_unknown_mode_and_missing_signal_are_refused():
    with pytest.raises(ValueError, match="type one of stretched, sorted_epochs"):
        OrderedCurriculum(mode="random")
    with pytest.raises(ValueError, match="add signal=label"):
        OrderedCurriculum().start(PromptPool(20, 2, 5, 10, 8), None, 0)
