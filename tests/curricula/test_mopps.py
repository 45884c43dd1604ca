import numpy as np
import pytest

from gainrl.curricula.mopps import MoPPSCurriculum
from gainrl.curricula.pool import PromptPool
from tests.curricula.simulated import group, report


def started(size: int = 40, **settings) -> tuple[MoPPSCurriculum, PromptPool]:
    curriculum, pool = MoPPSCurriculum(**settings), PromptPool(size, 4, 5, 10, 8)
    curriculum.start(pool, None, 0)
    return curriculum, pool


def beliefs(curriculum: MoPPSCurriculum) -> dict[int, list[float]]:
    state = curriculum.state_dict()
    return dict(zip(state["rows"].tolist(), state["beliefs"].T.tolist(), strict=True))


def test_beliefs_count_correct_and_wrong_completions():
    curriculum, pool = started(memory=1.0)
    report(curriculum, pool, [group(3, 6), group(5, 0)])
    report(curriculum, pool, [group(3, 2)])
    assert beliefs(curriculum) == {3: [9, 9], 5: [1, 9]}


def test_half_a_memory_fades_towards_the_prior():
    curriculum, pool = started(memory=0.5)
    report(curriculum, pool, [group(3, 6)])
    assert beliefs(curriculum) == {3: [7, 3]}  # 0.5 * 1 + 0.5 + 6
    report(curriculum, pool, [group(3, 0)])
    assert beliefs(curriculum) == {3: [4, 10]}  # 0.5 * 7 + 0.5, 0.5 * 3 + 0.5 + 8


@pytest.mark.parametrize("pick", ["topk", "threshold"])
def test_known_prompts_near_the_target_are_preferred(pick):
    curriculum, pool = started(size=8, pick=pick)
    for _ in range(30):
        report(curriculum, pool, [group(row, 4 if row < 4 else 8) for row in range(8)])
    assert sorted(curriculum.propose(4).tolist()) == [0, 1, 2, 3]


def test_the_threshold_rule_does_not_rank_within_its_band():
    curriculum, pool = started(size=8, pick="threshold")
    for _ in range(200):
        report(curriculum, pool, [group(row, 4 if row < 4 else 5) for row in range(8)])  # 0.5 and 0.625: both inside
    counts = np.bincount(np.concatenate([curriculum.propose(4) for _ in range(400)]), minlength=8)
    assert counts == pytest.approx(200, abs=60)


def test_the_error_of_the_beliefs_is_reported():
    curriculum, pool = started()
    report(curriculum, pool, [group(3, 8), group(4, 4)])
    assert curriculum.metrics()["prediction_error"] == pytest.approx((0.25 + 0.0) / 2)


def test_the_band_of_the_threshold_rule_follows_the_target():
    curriculum, pool = started(size=8, pick="threshold", target=0.8)
    for _ in range(200):  # 0.625 and 0.875 lie within 0.8 +- 0.2, 0.5 and 0.375 do not
        report(curriculum, pool, [group(row, correct) for row, correct in enumerate([5, 7, 5, 7, 4, 3, 4, 3])])
    assert {int(row) for _ in range(20) for row in curriculum.propose(4)} == {0, 1, 2, 3}
