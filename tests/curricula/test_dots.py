import numpy as np
import pytest

from gainrl.curricula.dots import DOTSCurriculum
from gainrl.curricula.pool import PromptPool
from gainrl.types import SignalScores
from tests.curricula.simulated import group, report

SIDES = np.array([[1.0, 0.0], [0.0, 1.0]] * 20, np.float32)  # even rows look one way, odd rows the other
RATES = SignalScores("pass_rate", np.full(40, 0.5), "high")


def started(rate=lambda rows: np.where(rows % 2 == 0, 0.5, 1.0), **settings):
    asked: list[np.ndarray] = []

    def measure(rows):
        asked.append(rows)
        return rate(rows)

    pool = PromptPool(40, 8, 3, 30, 8, measure=measure, states=lambda rows: SIDES[rows])
    curriculum = DOTSCurriculum(**settings)
    curriculum.start(pool, RATES, 0)
    return curriculum, pool, asked


def test_prompts_that_look_like_references_of_the_target_pass_rate_are_drawn():
    curriculum, _, asked = started()
    rows = curriculum.propose(8)
    assert len(asked[0]) == 8
    assert {row % 2 for row in asked[0]} == {0, 1}
    assert all(row % 2 == 0 for row in rows)


def test_references_are_measured_again_every_so_many_steps_and_counted():
    curriculum, pool, asked = started(every=2, references=0.5)
    for step in range(5):
        rows = curriculum.propose(8)
        report(curriculum, pool, [group(int(row), 4, step=step) for row in rows])
    assert [len(rows) for rows in asked] == [4, 4, 4]  # before steps 0, 2 and 4
    assert curriculum.metrics()["prompts_measured"] == 12


def test_at_a_high_temperature_the_draw_is_nearly_uniform():
    curriculum, _, _ = started(temperature=100.0)
    drawn = np.concatenate([curriculum.propose(8) for _ in range(40)])
    assert (drawn % 2).mean() == pytest.approx(0.5, abs=0.1)


def test_a_run_without_pass_rates_or_states_is_refused():
    pool = PromptPool(40, 8, 3, 30, 8, states=lambda rows: SIDES[rows])
    with pytest.raises(ValueError, match="add signal=pass_rate"):
        DOTSCurriculum().start(pool, RATES, 0)
    with pytest.raises(ValueError, match="curriculum=dots reads the hidden states"):
        DOTSCurriculum().start(PromptPool(40, 8, 3, 30, 8, measure=lambda rows: rows), RATES, 0)
