import numpy as np
import pytest

from gainrl.curricula.pool import PromptPool
from gainrl.curricula.vcrl import VCRLCurriculum
from tests.curricula.simulated import group, report


def started(**settings) -> tuple[VCRLCurriculum, PromptPool]:
    curriculum, pool = VCRLCurriculum(**{"early_steps": 0} | settings), PromptPool(12, 4, 3, 30, 8)
    curriculum.start(pool, None, 0)
    return curriculum, pool


def bank(curriculum: VCRLCurriculum) -> dict[int, float]:
    return {row: priority for row, priority, _ in curriculum.state_dict()["bank"]}


def test_the_bank_holds_prompts_whose_groups_vary_and_blends_their_visits():
    curriculum, pool = started()
    report(curriculum, pool, [group(0, 4), group(1, 3), group(2, 2), group(3, 8)])
    assert bank(curriculum) == pytest.approx({0: 1.0, 1: 15 / 16})  # 2 of 8 is 12/16, below .8
    report(curriculum, pool, [group(0, 3), group(1, 1)])
    assert bank(curriculum) == pytest.approx({0: 0.9 * 1 + 0.1 * 15 / 16})


def test_groups_of_odd_size_have_a_largest_variance_of_their_own():
    curriculum, pool = started()
    report(curriculum, pool, [group(0, 2, 5)])
    assert bank(curriculum) == {0: 1.0}  # 2 * 3 of 2 * 3


def test_the_first_steps_have_another_threshold():
    curriculum, pool = started(early_steps=1)
    report(curriculum, pool, [group(0, 1)])  # 7/16; a step is counted before its groups are shown here
    assert bank(curriculum) == {}
    curriculum, pool = started(early_steps=2)
    report(curriculum, pool, [group(0, 1)])
    assert bank(curriculum) == {0: 7 / 16}


def test_refills_come_from_the_bank_by_priority_and_each_prompt_twice_at_most():
    curriculum, pool = started()
    report(curriculum, pool, [group(5, 3), group(7, 4), group(9, 4)])
    assert curriculum.propose(2, exclude=[9]).tolist() == [7, 5]
    assert curriculum.propose(1, exclude=[9]).tolist() == [7]
    third = curriculum.propose(2, exclude=[9])
    assert third[0] == 5  # 7 was replayed twice
    assert third[1] not in (5, 9)  # and the walk goes on
    assert curriculum.metrics()["replayed"] == 4


def test_steps_walk_over_the_pool():
    curriculum, _ = started()
    rows = np.concatenate([curriculum.propose(4) for _ in range(3)])
    assert sorted(rows.tolist()) == list(range(12))
