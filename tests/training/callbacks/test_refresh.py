import numpy as np
import pytest

from gainrl.training.callbacks import SignalRefresh
from gainrl.types import SignalScores
from tests.training.rig import FollowSignal, RuleReward, data_of, fit, module_of, refresh_of

SIGNAL = np.arange(16.0)


def run(tmp_path, callback=None, *, steps=4, reward=None, concentrations=None, **settings):
    curriculum = FollowSignal()
    module = module_of(**({"reward": reward} if reward else {}))
    if concentrations is not None:
        given = iter(np.reshape(concentrations, (-1, 4)))
        module.learner.watch.take = lambda: (next(given), {})
    callback = callback or refresh_of(tmp_path, SIGNAL, **settings)
    data = data_of(module, curriculum=curriculum, steps=steps)
    fit(module, data, [callback])
    return curriculum, callback, module, data


def test_an_epoch_feeds_back_the_accuracy_of_its_own_rollouts_and_is_never_fed_back_twice(tmp_path):
    # Epoch 0 rolls out rows 15..8, epoch 1 rows 7..0: solved are 12..15 and, in epoch 1, row 0 alone.
    def rule(text, problem):
        return int(problem.id.split("-")[1]) in (0, 12, 13, 14, 15)

    values = np.linspace(0, 1.5, 24)
    curriculum, *_ = run(tmp_path, steps=6, reward=RuleReward(rule), concentrations=values)
    assert [feedback.epoch for feedback in curriculum.feedback] == [0, 1]  # the last epoch has no successor
    assert [feedback.accuracy for feedback in curriculum.feedback] == [1 / 2, 1 / 8]
    assert [value for shown in curriculum.shown for value in shown.values()] == values.tolist()


def test_an_epoch_without_an_update_is_measured_by_a_pass_of_its_own(tmp_path):
    asked = []

    def measure(data, module, rows):
        asked.append(rows.tolist())
        return dict.fromkeys(rows.tolist(), 0.75)

    callback = refresh_of(tmp_path, SIGNAL, measure_concentration=measure)
    curriculum, *_ = run(tmp_path, callback, steps=6, reward=RuleReward(lambda text, problem: True))
    own = [shown for shown in curriculum.shown if shown]  # the updates showed nothing
    assert own == [dict.fromkeys(rows, 0.75) for rows in (range(8, 16), range(8))]
    assert asked == [list(range(8, 16)), list(range(8))]  # of each epoch its own prompts


def test_an_epoch_that_nothing_measures_shows_no_concentration(tmp_path):
    curriculum, *_ = run(tmp_path, steps=4)
    assert curriculum.shown == [{}] * 4


def test_the_signal_is_measured_once_or_on_its_period(tmp_path):
    def count(every, steps):
        asked = []

        def measure(data, module, rows):
            asked.append(module.counters.step)
            return SignalScores("given", SIGNAL)

        run(tmp_path, SignalRefresh(measure=measure, folder=tmp_path, every_epochs=every), steps=steps)
        return asked

    assert count(None, 8) == [0]
    assert count(1, 6) == [0, 2, 4]  # not after the last epoch: nobody would draw from it
    assert count(2, 10) == [0, 4, 8]


def test_the_curriculum_can_measure_rows_under_the_current_policy(tmp_path):
    *_, data = run(tmp_path, refresh_of(tmp_path, SIGNAL * 2))
    assert data.pool.measure(np.array([3, 1])).tolist() == [6.0, 2.0]


def test_a_live_measurement_without_a_signal_says_what_is_missing(tmp_path):
    callback = SignalRefresh(measure=lambda data, module, rows: None, folder=tmp_path)
    module = module_of()
    data = data_of(module)
    fit(module, data, [callback])
    with pytest.raises(ValueError, match="choose one with signal="):
        data.pool.measure(np.array([0]))


def test_a_resumed_run_takes_the_stored_values_and_the_half_of_the_epoch_that_is_over(tmp_path):
    _, callback, *_ = run(tmp_path, steps=4)
    callback._epoch_rows, callback._epoch_correct, callback._epoch_valid, callback._epoch_shown = [3], 1, 4, True
    state = callback.state_dict()
    never = SignalRefresh(measure=lambda *given: pytest.fail("measured again"), folder=tmp_path)
    never.load_state_dict(state)
    assert never.state_dict() == state
    curriculum, *_ = run(tmp_path, never, steps=2)
    assert never.scores.values.tolist() == SIGNAL.tolist()
    assert curriculum.seen[0] == [15, 14, 13, 12]


def test_a_period_below_one_epoch_is_refused(tmp_path):
    with pytest.raises(ValueError, match="refresh_every_epochs=0 must be 1 or more, or null"):
        refresh_of(tmp_path, SIGNAL, every_epochs=0)
