import numpy as np
import pytest

from gainrl.curricula.pool import PromptPool
from gainrl.curricula.prepo import PrepoCurriculum
from gainrl.types import SignalScores

PERPLEXITY = SignalScores("perplexity", np.arange(40.0), "low")


def started(measure=lambda rows: rows.astype(float), **settings) -> tuple[PrepoCurriculum, PromptPool]:
    curriculum, pool = PrepoCurriculum(**settings), PromptPool(40, 8, 5, 10, 8, measure=measure)
    curriculum.start(pool, PERPLEXITY, 0)
    return curriculum, pool


@pytest.mark.parametrize(("step", "first"), [(0, 0), (5, 16), (9, 28), (10, 32)])
def test_the_window_slides_with_the_run(step, first):
    curriculum, pool = started()  # 8 / 0.2 = 40 candidates: the whole pool
    pool.counters.step = step
    assert curriculum.propose(8).tolist() == list(range(first, first + 8))  # floor(rho (40 - 8))


def test_only_a_candidate_batch_is_measured_and_it_is_counted():
    seen: list[int] = []
    curriculum, _ = started(lambda rows: seen.extend(rows) or rows.astype(float), keep=0.5)
    rows = curriculum.propose(8)
    assert len(set(seen)) == 16
    assert rows.tolist() == sorted(seen)[:8]
    assert curriculum.metrics()["prompts_measured"] == 16


def test_the_signal_says_which_end_comes_first():
    curriculum, _ = started()
    curriculum.refresh(SignalScores("angle", np.arange(40.0), "high"))
    assert curriculum.propose(8).tolist() == list(range(39, 31, -1))


def test_last_values_serve_where_nothing_can_be_measured():
    curriculum, _ = started(measure=None, live=False)
    assert curriculum.propose(8).tolist() == list(range(8))
    with pytest.raises(ValueError, match="which signal=perplexity cannot"):
        started(measure=None)
    with pytest.raises(ValueError, match="add signal=perplexity"):
        PrepoCurriculum().start(PromptPool(40, 8, 5, 10, 8), None, 0)


@pytest.mark.parametrize("step", [29, 57, 58])
def test_the_window_starts_where_whole_numbers_say(step):
    pool = PromptPool(104, 4, 5, 100, 8)
    curriculum = PrepoCurriculum(keep=4 / 104, live=False)  # 104 candidates: the whole pool
    curriculum.start(pool, SignalScores("perplexity", np.arange(104.0), "low"), 0)
    pool.counters.step = step
    assert curriculum.propose(4).tolist() == list(range(step, step + 4))  # step / 100 of 104 - 4
