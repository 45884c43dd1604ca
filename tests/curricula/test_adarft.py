import math

import numpy as np
import pytest

from gainrl.curricula.adarft import AdaRFTCurriculum
from gainrl.curricula.pool import PromptPool
from gainrl.types import EpochFeedback, GroupOutcome, SignalScores
from tests.curricula.simulated import group, report


def started(size: int = 101, prompts: int = 3, **settings) -> tuple[AdaRFTCurriculum, PromptPool]:
    """Row ``i`` has a pass rate of ``1 - i / (size - 1)``, and so a difficulty of ``100 i / (size - 1)``."""
    curriculum, pool = AdaRFTCurriculum(**settings), PromptPool(size, prompts, 2, 20, 8)
    curriculum.start(pool, SignalScores("pass_rate", 1 - np.linspace(0, 1, size), "high"), 0)
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


def with_labels(*difficulties: float, prompts: int = 1, levels: list[int] | None = None) -> PromptPool:
    pool = PromptPool(len(difficulties), prompts, 1, 9, 8, difficulties=np.array(difficulties))
    pool.levels = None if levels is None else np.array(levels)
    return pool


def exact(difficulty: np.ndarray | float, row: int, group_size: int = 100) -> GroupOutcome:
    """The group of a learner whose pass rate is exactly ``1 - difficulty / 100``."""
    return group(row, round(group_size * (1 - float(difficulty) / 100)), group_size)


def test_published_difficulties_are_read_as_they_are_without_a_signal():
    curriculum, pool = AdaRFTCurriculum(), with_labels(90.0, 30.0, 60.0, 40.0)
    curriculum.start(pool, None, 0)
    assert [step(curriculum, pool, 8) for _ in range(3)] == [[1], [3], [0]]  # targets 0, 38.1, 76.2


def test_on_exact_difficulties_the_published_constants_reach_the_target_and_stay():
    """``50 tanh(2 (a - 0.5))`` with ``a = 1 - T / 100`` is ``50 - T`` but for terms of third order."""
    curriculum, pool = AdaRFTCurriculum(), with_labels(*map(float, range(101)))
    curriculum.start(pool, None, 0)
    trained = []
    for _ in range(6):
        (row,) = curriculum.propose(1)
        trained.append(int(row))
        report(curriculum, pool, [exact(row, row)])
    # 50 tanh(1) = 38.08; 38.08 + 50 tanh(0.24) = 49.85; 49.85 + 50 tanh(0) = 49.85
    assert trained == [0, 38, 50, 50, 50, 50]


@pytest.mark.parametrize(("difficulty", "labels_trained"), [("published", [0, 50, 50, 50]), ("rank", [0, 100, 0, 100])])
def test_ranks_take_the_rule_past_prompts_that_it_would_have_settled_on(difficulty, labels_trained):
    """Ten labels of 0, one of 50, ninety of 100 have the ranks 4.5, 10 and 55.5; the target is 0, then 38.08."""
    labels = [0.0] * 10 + [50.0] + [100.0] * 90
    curriculum, pool = AdaRFTCurriculum(difficulty=difficulty), with_labels(*labels)
    curriculum.start(pool, SignalScores("label", np.array(labels), "low"), 0)
    trained = []
    for _ in range(4):
        (row,) = curriculum.propose(1)
        trained.append(labels[row])
        report(curriculum, pool, [exact(labels[row], row)])
    assert trained == labels_trained


@pytest.mark.parametrize("rates", [[1.0, 0.75, 0.25], [0.9, 0.5, 0.0]])
def test_the_difficulty_of_a_measured_pass_rate_is_the_share_of_failures_in_percent(rates):
    curriculum, pool = AdaRFTCurriculum(), PromptPool(3, 1, 1, 9, 8)
    curriculum.start(pool, SignalScores("pass_rate", np.array(rates), "high"), 0)
    assert curriculum._difficulties == pytest.approx([100 * (1 - rate) for rate in rates])
    curriculum.refresh(SignalScores("pass_rate", np.array([1.0, 1.0, 0.5]), "high"))
    assert curriculum._difficulties == pytest.approx([0, 0, 50])


def test_prompts_without_a_difficulty_never_train_unless_they_are_given_one():
    labels = (20.0, np.nan, 80.0, np.nan, 40.0)
    curriculum, pool = AdaRFTCurriculum(initial_target=100.0), with_labels(*labels, prompts=2)
    curriculum.start(pool, None, 0)
    assert sorted(curriculum.propose(2).tolist()) == [2, 4]
    assert curriculum.propose(1, exclude=[2, 4]).tolist() == [0]
    assert curriculum.metrics()["left_out"] == 2
    with pytest.raises(ValueError, match="2 distinct prompts were asked for, but only 1"):
        curriculum.propose(2, exclude=[2, 4])
    curriculum, pool = AdaRFTCurriculum(initial_target=100.0, unlabelled=100.0), with_labels(*labels, prompts=2)
    curriculum.start(pool, None, 0)
    assert sorted(curriculum.propose(2).tolist()) == [1, 3]
    assert curriculum.metrics()["left_out"] == 0


def test_a_pool_with_fewer_difficulties_than_a_step_needs_is_refused():
    with pytest.raises(ValueError, match=r"only 1 of 3 prompts.*curriculum\.unlabelled=100"):
        AdaRFTCurriculum().start(with_labels(50.0, np.nan, np.nan, prompts=2), None, 0)


@pytest.mark.parametrize(
    "pool",
    [
        PromptPool(2, 1, 1, 9, 8),
        with_labels(1.0, 30.0, np.nan, levels=[1, 30, -1]),  # the levels of the data
        with_labels(1.5, 6.5, 10.0),  # grades, as those of AMC and AIME
        with_labels(1.0, 700.0),
        with_labels(-1.0, 70.0),
    ],
)
def test_where_the_data_has_no_difficulties_in_percent_pass_rates_are_measured(pool):
    assert AdaRFTCurriculum().reads(pool.levels, pool.difficulties) == "pass_rate"
    with pytest.raises(ValueError, match="add signal=pass_rate"):
        AdaRFTCurriculum().start(pool, None, 0)


@pytest.mark.parametrize(
    ("pool", "fault"),
    [
        (PromptPool(2, 1, 1, 9, 8), "no training problem has one"),
        (with_labels(1.0, 700.0), r"the data's lie in \[1, 700\]"),
    ],
)
def test_numbers_that_cannot_be_read_as_difficulties_are_refused_with_what_to_type(pool, fault):
    with pytest.raises(ValueError, match=f"{fault}: type curriculum.difficulty=pass_rate signal=pass_rate"):
        AdaRFTCurriculum(difficulty="published").start(pool, None, 0)


def test_another_signal_is_no_pass_rate():
    with pytest.raises(ValueError, match=r"signal=angle measures another thing: type signal=pass_rate, or .*rank"):
        AdaRFTCurriculum().start(PromptPool(2, 1, 1, 9, 8), SignalScores("angle", np.array([0.1, 0.2])), 0)


def test_a_prompt_without_a_rank_is_left_out_too():
    curriculum, pool = AdaRFTCurriculum(difficulty="rank", initial_target=100.0), PromptPool(5, 2, 1, 9, 8)
    curriculum.start(pool, SignalScores("label", np.array([np.nan, 30.0, 90.0, np.nan, 10.0]), "low"), 0)
    assert curriculum._difficulties[[4, 1, 2]].tolist() == [0.0, 25.0, 50.0]
    assert sorted(curriculum.propose(2).tolist()) == [1, 2]
