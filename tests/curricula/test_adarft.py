import math

import numpy as np
import pytest

from gainrl.curricula.adarft import AdaRFTCurriculum
from gainrl.curricula.pool import PromptPool
from gainrl.types import EpochFeedback, SignalScores
from tests.curricula.simulated import group, report


def started(size: int = 101, prompts: int = 3, **settings) -> tuple[AdaRFTCurriculum, PromptPool]:
    """Row ``i`` has difficulty ``100 i / (size - 1)``."""
    curriculum, pool = AdaRFTCurriculum(**settings), PromptPool(size, prompts, 2, 20, 8)
    curriculum.start(pool, SignalScores("pass_rate", -np.arange(size, dtype=float), "high"), 0)
    return curriculum, pool


def step(curriculum: AdaRFTCurriculum, pool: PromptPool, correct: int) -> list[int]:
    rows = curriculum.propose(pool.prompts_per_step)
    report(curriculum, pool, [group(int(row), correct) for row in rows])
    return sorted(rows.tolist())


def test_the_target_moves_by_the_formula():
    curriculum, pool = started()
    assert step(curriculum, pool, 8) == [0, 1, 2]
    # 50 tanh(2 (1 - 0.5)) = 38.08
    assert step(curriculum, pool, 3) == [37, 38, 39]
    # 38.08 + 50 tanh(2 (0.375 - 0.5)) = 38.08 - 12.25
    step(curriculum, pool, 4)
    assert curriculum.metrics()["target"] == pytest.approx(50 * math.tanh(1) - 50 * math.tanh(0.25))


def test_the_target_stays_within_the_difficulties():
    curriculum, pool = started()
    for _ in range(5):
        step(curriculum, pool, 8)
    assert step(curriculum, pool, 8) == [98, 99, 100]
    for _ in range(5):
        step(curriculum, pool, 0)
    assert step(curriculum, pool, 0) == [0, 1, 2]


def test_at_the_target_accuracy_the_same_prompts_come_back_unless_unseen_come_first():
    curriculum, pool = started()
    assert step(curriculum, pool, 4) == step(curriculum, pool, 4) == [0, 1, 2]
    curriculum, pool = started(unseen_first=True)
    assert [step(curriculum, pool, 4) for _ in range(2)] == [[0, 1, 2], [3, 4, 5]]


def test_a_frozen_target_holds_for_the_epoch():
    curriculum, pool = started(frozen_per_epoch=True)
    assert step(curriculum, pool, 8) == step(curriculum, pool, 8) == [0, 1, 2]
    curriculum.end_epoch(EpochFeedback(0, 1.0))
    assert step(curriculum, pool, 4) == [75, 76, 77]  # two moves of 38.08


def test_all_rounds_of_a_step_make_one_move():
    curriculum, pool = started()
    rows = curriculum.propose(3)
    report(curriculum, pool, [group(int(row), 8) for row in rows])
    refill = curriculum.propose(1, exclude=rows.tolist())
    curriculum.observe([group(int(refill[0]), 0)])
    curriculum.propose(3)
    assert curriculum.metrics()["target"] == pytest.approx(50 * math.tanh(2 * (0.75 - 0.5)))


def test_labels_are_read_as_they_are():
    curriculum, pool = AdaRFTCurriculum(difficulty="label"), PromptPool(4, 1, 1, 9, 8)
    pool.difficulties = np.array([90.0, 30.0, 60.0, 40.0])
    curriculum.start(pool, None, 0)
    assert [step(curriculum, pool, 8) for _ in range(3)] == [[1], [3], [0]]  # targets 0, 38.1, 76.2


@pytest.mark.parametrize("difficulties", [None, np.array([1.0, np.nan]), np.array([1.0, 700.0])])
def test_unusable_labels_are_refused_with_what_to_type(difficulties):
    pool = PromptPool(2, 1, 1, 9, 8, difficulties=difficulties)
    with pytest.raises(ValueError, match="with signal=pass_rate, signal=label or signal=angle"):
        AdaRFTCurriculum(difficulty="label").start(pool, None, 0)


def test_prompts_without_a_difficulty_count_as_hardest_and_share_a_rank():
    curriculum, pool = AdaRFTCurriculum(initial_target=100.0), PromptPool(5, 2, 1, 9, 8)
    curriculum.start(pool, SignalScores("label", np.array([np.nan, 30.0, 90.0, np.nan, 10.0]), "low"), 0)
    assert curriculum._difficulties.tolist() == [87.5, 25.0, 50.0, 87.5, 0.0]
    assert sorted(curriculum.propose(2).tolist()) == [0, 3]


def test_a_signal_is_needed_by_default():
    with pytest.raises(ValueError, match="add signal=pass_rate or signal=label"):
        AdaRFTCurriculum().start(PromptPool(2, 1, 1, 9, 8), None, 0)
