import numpy as np
import pytest

from gainrl.curricula.gain import GainCurriculum
from gainrl.curricula.pool import PromptPool
from gainrl.types import EpochFeedback, SignalScores
from tests.curricula.simulated import outcome

PAPER = {"width": 0.133, "step_scale": 0.067, "alpha": 2.0, "beta": 0.5, "gamma": 0.5}


def started(size: int = 1000, prompts: int = 10, steps_per_epoch: int = 4, **settings) -> GainCurriculum:
    curriculum = GainCurriculum(**{**PAPER, **settings})
    pool = PromptPool(size, prompts, steps_per_epoch, total_steps=100, group_size=8)
    curriculum.start(pool, SignalScores("angle", np.arange(size, 0, -1.0)), 0)  # row i has rank i
    return curriculum


def epoch(curriculum: GainCurriculum, accuracy: float, concentration: float, steps: int = 4) -> list[int]:
    rows = [row for _ in range(steps) for row in curriculum.propose(10).tolist()]
    curriculum.after_update(dict.fromkeys(rows, concentration))
    curriculum.end_epoch(EpochFeedback(0, accuracy))
    return rows


def test_an_epoch_is_one_draw_served_by_rank():
    rows = epoch(started(), 0.5, 0.2)
    assert rows == sorted(set(rows))
    assert len(rows) == 40


def test_the_centre_follows_the_paper_by_hand():
    curriculum = started(size=7473, absolute=True, width=1000, step_scale=512)
    centers = [curriculum.metrics()["center"]]
    for accuracy in (0.5, 0.7, 0.3):
        epoch(curriculum, accuracy, 0.2)
        centers.append(curriculum.metrics()["center"])
    # 512 tanh(0.1) = 51.03; 512 tanh(+-0.4) = +-194.54
    assert centers == pytest.approx([0, 51.03, 51.03 + 245.57, 51.03 + 245.57 - 143.51], abs=0.02)


def test_the_papers_step_is_half_the_prompts_of_an_epoch():
    curriculum = started(size=7473, absolute=True, width=1000, step_scale=None)  # epochs of 40 prompts
    epoch(curriculum, 0.7, 0.2)
    assert curriculum.metrics()["center"] == pytest.approx(20 * (np.tanh(0.4) + np.tanh(0.1)))
    half = started(size=100, prompts=64, steps_per_epoch=16, absolute=True, width=10, step_scale=None)
    half.after_update({0: 0.01, 1: 0.03})
    half.end_epoch(EpochFeedback(0, 0.5))
    assert half.metrics()["move/total"] == pytest.approx(512 * np.tanh(0.01))


@pytest.mark.parametrize("reversed", [False, True])
def test_prompts_without_a_signal_come_last_from_either_end(reversed):
    values = np.arange(200.0)
    values[:20] = np.nan
    curriculum = GainCurriculum(**PAPER | {"width": 0.05}, reversed=reversed)
    curriculum.start(PromptPool(200, 10, 1, total_steps=100, group_size=8), SignalScores("angle", values), 0)
    rows = curriculum.propose(10)
    assert min(rows) >= 20
    assert np.isfinite(curriculum.metrics()["mean_signal"])


def test_the_move_reports_its_two_terms():
    curriculum = started(size=7473, absolute=True, width=1000, step_scale=512)
    epoch(curriculum, 0.7, 0.2)
    metrics = curriculum.metrics()
    assert metrics["move/accuracy"] == pytest.approx(194.54, abs=0.01)
    assert metrics["move/angle"] == pytest.approx(51.03, abs=0.01)
    assert metrics["move/total"] == pytest.approx(245.57, abs=0.01)


def test_released_trl_draws_with_the_centre_of_the_epoch_before():
    settings = {"absolute": True, "width": 1000, "step_scale": 500, "update": "released_trl"}
    curriculum = started(size=7473, **settings)
    centers = []
    for _ in range(3):
        epoch(curriculum, 0.5, 0.5)
        centers.append(curriculum.metrics()["center"])
    assert [round(center) for center in centers] == [0, 381, 762]


def test_released_verl_acts_at_once_and_halves_the_accuracy():
    curriculum = started(size=7473, absolute=True, width=1000, step_scale=500, update="released_verl")
    epoch(curriculum, 0.5, 0.5)
    assert round(curriculum.metrics()["center"]) == 150


@pytest.mark.parametrize("size", [500, 5000])
def test_fractions_scale_with_the_pool(size):
    curriculum = started(size=size)
    epoch(curriculum, 1.0, 0.2)
    metrics = curriculum.metrics()
    assert metrics["width"] == pytest.approx(0.133 * size)
    assert metrics["center_fraction"] == pytest.approx(0.067 * (np.tanh(1.0) + np.tanh(0.1)))


def test_the_centre_stays_inside_the_pool_unless_unbounded():
    bounded, unbounded = started(step_scale=2.0), started(step_scale=2.0, bounded=False)
    for curriculum in (bounded, unbounded):
        for _ in range(3):
            epoch(curriculum, 1.0, 1.0)
    assert bounded.metrics()["center"] == 999
    assert unbounded.metrics()["center"] > 5000
    assert min(epoch(unbounded, 1.0, 1.0)) > 900  # still draws, from the far end
    for _ in range(50):
        epoch(bounded, 0.0, 0.0)
    assert bounded.metrics()["center"] == 0


def test_reversed_learns_the_other_end_first():
    assert np.mean(epoch(started(), 0.5, 0.2)) < 200
    assert np.mean(epoch(started(reversed=True), 0.5, 0.2)) > 800


def test_half_data_keeps_the_end_that_is_learnt_first():
    for settings in ({}, {"reversed": True}):
        curriculum = started(keep_fraction=0.5, width=10.0, **settings)
        rows = [row for _ in range(20) for row in epoch(curriculum, 0.5, 0.2)]
        assert max(rows) < 500
        assert curriculum.metrics()["width"] == 5000


def test_a_pass_longer_than_the_kept_pool_is_served_by_several_draws():
    curriculum = started(size=45, prompts=10, steps_per_epoch=9)
    rows = [curriculum.propose(10).tolist() for _ in range(9)]
    assert all(len(set(step)) == 10 for step in rows)
    assert len({row for step in rows[:4] for row in step}) == 40


def test_refills_come_from_the_window_and_not_from_the_epochs_own_draw():
    curriculum = started(width=0.05)
    steps = [curriculum.propose(10).tolist()]
    extra = curriculum.propose(20, exclude=steps[0]).tolist()
    steps += [curriculum.propose(10).tolist() for _ in range(3)]
    assert not set(extra) & {row for step in steps for row in step}
    assert max(extra) < 500


def test_refresh_reorders_the_pool():
    curriculum = started()
    curriculum.refresh(SignalScores("angle", np.arange(1000.0)))
    assert np.mean(epoch(curriculum, 0.5, 0.2)) > 800


def test_resuming_with_another_order_is_refused():
    state = started().state_dict()
    other = GainCurriculum(**PAPER)
    other.start(PromptPool(1000, 10, 4, 100, 8), SignalScores("angle", np.arange(1000.0)), 0)
    other.load_state_dict(state)
    with pytest.raises(ValueError, match="orders the pool differently"):
        other.propose(10)


def test_metrics_count_what_was_seen():
    curriculum = started(size=100)
    curriculum._pool.history.observe([outcome(row, 0, [True]) for row in (3, 5, 3)])
    metrics = curriculum.metrics()
    assert metrics["distinct_prompts"] == 2
    assert metrics["share_seen"] == 0.02
    assert sum(metrics[f"ranks/tenth_{i}"] for i in range(10)) == pytest.approx(1)
    ranks = np.sort([row for _ in range(4) for row in curriculum.propose(10)])
    assert metrics["mean_signal"] == pytest.approx(np.mean(100 - ranks))
    assert metrics["ranks/q50"] == np.median(ranks)


def test_an_unmeasured_concentration_is_refused_where_it_is_used():
    with pytest.raises(ValueError, match="update=accuracy_only"):
        started().end_epoch(EpochFeedback(0, 0.5))
    curriculum = started(update="accuracy_only")
    curriculum.end_epoch(EpochFeedback(0, float("nan")))
    assert curriculum.metrics()["center"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0.0}, "width=0.0 lies outside"),
        ({"width": 1000}, "or absolute=true"),
        ({"absolute": True}, "type width=1000 step_scale=500"),
        ({"update": "papr"}, "type one of paper"),
        ({"beta": 1.5}, r"outside \[0, 1\]"),
        ({"keep_fraction": 0.0}, r"outside \(0, 1\]"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GainCurriculum(**{**PAPER, **settings})


def test_a_run_without_signal_is_refused():
    with pytest.raises(ValueError, match="add signal=angle"):
        GainCurriculum(**PAPER).start(PromptPool(100, 10, 4, 100, 8), None, 0)


@pytest.mark.parametrize(("keep_fraction", "kept"), [(0.55, 55), (0.28, 28), (0.07, 7), (0.555, 56)])
def test_the_kept_share_is_counted_as_typed(keep_fraction, kept):
    curriculum = started(size=100, prompts=5, keep_fraction=keep_fraction)
    assert curriculum.metrics()["center_fraction"] == 0
    assert curriculum._kept == kept
