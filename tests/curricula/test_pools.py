import numpy as np
import pytest

from gainrl.curricula.pool import PromptPool
from gainrl.curricula.pools import PoolsCurriculum
from tests.curricula.simulated import group, report


def started(**settings) -> PoolsCurriculum:
    curriculum, pool = PoolsCurriculum(**settings), PromptPool(5, 1, 5, 10, 8)
    curriculum.start(pool, None, 0)
    report(curriculum, pool, [group(0, 2), group(1, 3), group(2, 5), group(3, 6)])  # 0.25, 0.375, 0.625, 0.75
    return curriculum


def test_the_last_pass_rate_decides_the_pool():
    assert started().metrics() == {
        "share/hard": pytest.approx(0.2),
        "share/normal": pytest.approx(0.4),
        "share/easy": pytest.approx(0.2),
        "share/unseen": pytest.approx(0.2),
    }


def test_draws_follow_the_weights_of_the_pools():
    curriculum = started()
    counts = np.bincount([int(curriculum.propose(1)[0]) for _ in range(4000)], minlength=5)
    assert counts / 4000 == pytest.approx(np.array([0.2, 1, 1, 0.2, 1]) / 3.4, abs=0.03)


def test_solved_prompts_can_retire():
    curriculum = started(easy_threshold=0.75, easy_weight=0.0)
    assert 3 not in {row for _ in range(50) for row in curriculum.propose(4).tolist()}
    assert 3 in curriculum.propose(5)


@pytest.mark.parametrize(("correct", "retired"), [(8, False), (9, True), (10, True)])
def test_prompts_retire_at_a_pass_rate_of_nine_tenths(correct, retired):
    curriculum, pool = PoolsCurriculum(easy_threshold=0.9, easy_weight=0.0), PromptPool(5, 1, 5, 10, 10)
    curriculum.start(pool, None, 0)
    report(curriculum, pool, [group(3, correct, 10)])
    assert (3 not in {row for _ in range(50) for row in curriculum.propose(4).tolist()}) is retired


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"easy_threshold=0.1 lies outside \[0.25, 1\]"):
        PoolsCurriculum(easy_threshold=0.1)
    with pytest.raises(ValueError, match="hard_weight=-1 lies outside"):
        PoolsCurriculum(hard_weight=-1)
