import numpy as np
import pytest

from gainrl.curricula.goldilocks import GoldilocksCurriculum
from gainrl.curricula.pcl import PCLCurriculum
from gainrl.curricula.pool import PromptPool
from tests.curricula.simulated import group, report

STATES = np.arange(20)[:, None].astype(np.float32) / 20  # one feature


def started(kind=PCLCurriculum, **settings):
    asked: list[list[int]] = []

    def states(rows):
        asked.append(rows.tolist())
        return STATES[rows]

    pool = PromptPool(20, 4, 3, 30, 8, states=states)
    curriculum = kind(**({"factor": None, "ridge": 1e-6} | settings))
    curriculum.start(pool, None, 0)
    return curriculum, pool, asked


def taught(curriculum, pool):
    """Four prompts of one step, each with a pass rate of 1 minus its feature."""
    rows = curriculum.propose(4)
    report(curriculum, pool, [group(row, 20 - row, 20) for row in rows.tolist()])
    return rows


def test_the_step_holds_the_prompts_with_predicted_pass_rates_nearest_to_the_target():
    curriculum, pool, _ = started(target=0.25)
    taught(curriculum, pool)
    assert set(curriculum.propose(3).tolist()) == {14, 15, 16}  # V(x) = 1 - x is 1/4 in row 15


def test_nothing_is_known_before_the_first_outcome_and_candidates_are_random():
    curriculum, _, asked = started(factor=2)
    rows = curriculum.propose(4)
    assert len(asked[0]) == 8
    assert rows.tolist() == asked[0][:4]
    assert curriculum.metrics() == {"prediction_error": 0.0, "head_examples": 0.0, "prompts_measured": 8.0}


def test_the_first_prediction_is_one_half_and_its_error_is_counted():
    curriculum, pool, _ = started()
    rows = curriculum.propose(4)
    report(curriculum, pool, [group(row, 8) for row in rows.tolist()])
    assert curriculum.metrics()["prediction_error"] == pytest.approx(0.25)


def test_groups_older_than_the_window_are_forgotten():
    curriculum, pool, _ = started(window=2)
    for step, expected in enumerate((4, 8, 8)):
        rows = curriculum.propose(4)
        report(curriculum, pool, [group(row, 4, step=step) for row in rows.tolist()])
        assert curriculum.metrics()["head_examples"] == expected


def test_states_that_are_not_live_cost_the_pool_once():
    curriculum, _, _ = started(live=False, factor=2)
    curriculum.propose(4)
    assert curriculum.metrics()["prompts_measured"] == 20


def test_goldilocks_takes_the_highest_predicted_deviation():
    curriculum, pool, _ = started(GoldilocksCurriculum, epsilon=0.0)
    rows = curriculum.propose(4)
    report(curriculum, pool, [group(row, 4 if row == max(rows) else 0) for row in rows.tolist()])
    # Deviations of 0, 0, 0 and 1/2: a line that rises with the feature.
    assert sorted(curriculum.propose(4).tolist()) == [16, 17, 18, 19]


def test_goldilocks_fills_slots_at_random_with_chance_epsilon():
    everything, pool, _ = started(GoldilocksCurriculum, epsilon=1.0, factor=4)
    taught(everything, pool)
    drawn = np.concatenate([everything.propose(4) for _ in range(50)])
    assert len(set(drawn.tolist())) == 20  # all rows get their turn, whatever is predicted


def test_a_run_that_cannot_measure_states_is_refused():
    with pytest.raises(ValueError, match="curriculum=pcl reads the hidden states"):
        PCLCurriculum().start(PromptPool(20, 4, 3, 30, 8), None, 0)
