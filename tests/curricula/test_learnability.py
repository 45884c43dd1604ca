import numpy as np
import pytest

from gainrl.curricula.learnability import LearnabilityCurriculum
from gainrl.curricula.pool import PromptPool
from tests.curricula.simulated import group, report


def started(**settings) -> tuple[LearnabilityCurriculum, PromptPool]:
    curriculum, pool = LearnabilityCurriculum(**settings), PromptPool(4, 1, 5, 10, 8)
    curriculum.start(pool, None, 0)
    report(curriculum, pool, [group(0, 4), group(1, 8), group(2, 2)])
    return curriculum, pool


def test_weights_are_the_variance_of_the_last_verdicts():
    curriculum, _ = started(staleness=0, uniform=0)
    scores = np.array([0.25, 0.0, 0.1875, 0.25])  # the last one is unseen and counts as p = 1/2
    assert curriculum._weights() == pytest.approx(scores / scores.sum())
    assert curriculum.metrics()["mean_score"] == pytest.approx(scores.mean())


def test_the_mixed_score_is_flatter():
    curriculum, _ = started(score="mixed", staleness=0, uniform=0, unseen_pass_rate=0.0)
    scores = np.array([1 - 2 / 256, 0.0, 1 - 0.25**8 - 0.75**8, 0.0])
    assert curriculum._weights() == pytest.approx(scores / scores.sum())


def test_staleness_and_the_uniform_floor_mix_in():
    curriculum, pool = started(staleness=0.5, uniform=0.2)
    pool.counters.step = 3
    ages = np.array([3, 3, 3, 4])  # last seen at step 0, and never
    scores = np.array([0.25, 0.0, 0.1875, 0.25])
    expected = 0.8 * (0.5 * scores / scores.sum() + 0.5 * ages / ages.sum()) + 0.2 / 4
    assert curriculum._weights() == pytest.approx(expected)


def test_draws_follow_the_weights():
    curriculum, _ = started(staleness=0, uniform=0)
    counts = np.bincount([int(curriculum.propose(1)[0]) for _ in range(3000)], minlength=4)
    assert counts / 3000 == pytest.approx(curriculum._weights(), abs=0.04)


def test_a_solved_pool_is_drawn_from_evenly():
    curriculum, pool = started(staleness=0, uniform=0)
    report(curriculum, pool, [group(row, 8) for row in range(4)])
    assert curriculum._weights().tolist() == [0.25] * 4
    assert curriculum.metrics()["effective_prompts"] == pytest.approx(4)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="type one of variance, mixed"):
        LearnabilityCurriculum(score="entropy")
    with pytest.raises(ValueError, match=r"staleness=2 lies outside \[0, 1\]"):
        LearnabilityCurriculum(staleness=2)
