import io
import re
import threading
from contextlib import nullcontext

import pytest
from rich.console import Console

from gainrl.training.callbacks import Evaluation, Heartbeat
from gainrl.training.callbacks.heartbeat import spoken, time_left
from tests.training.rig import RuleReward, coin, data_of, fit, module_of


class BeatingReward(RuleReward):
    """Lets the heartbeat beat whenever completions are judged, as its thread would in a long phase."""

    def score(self, completions, problems):
        self.threads = [thread for thread in threading.enumerate() if thread.name == "gainrl heartbeat"]
        self.beat()
        return super().score(completions, problems)


def run(*, terminal, fault=None):
    """The reward of a run of three steps, and what was printed."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160)
    heartbeat = Heartbeat(console=console)
    module = module_of(reward=BeatingReward(fault or coin))
    module.reward.beat = lambda: None if terminal else heartbeat.beat(module)
    callbacks = [Evaluation(every=2, samples=0, max_new_tokens=2), heartbeat]
    with pytest.raises(ZeroDivisionError) if fault else nullcontext():
        fit(module, data_of(module, steps=3), callbacks)
    return module.reward, console.file.getvalue().splitlines()


def test_a_beat_says_what_the_run_is_doing_and_what_is_left():
    _, lines = run(terminal=False)
    assert lines[0] == "step     0/3  evaluation"
    assert any(line == "step     0/3  reward" for line in lines)
    assert any(re.match(r"step     1/3  reward  reward \d.*, \d+\.\d s a step, \d+ s left", line) for line in lines)


def test_a_thread_beats_until_the_run_ends_or_fails():
    def fails(text, problem):
        return 1 / 0

    for fault in (None, fails):
        reward, _ = run(terminal=False, fault=fault)
        assert len(reward.threads) == 1
        reward.threads[0].join(timeout=60)
        assert not reward.threads[0].is_alive()


def test_a_terminal_has_no_heartbeat():
    reward, lines = run(terminal=True)
    assert (reward.threads, lines) == ([], [])


def test_the_time_left_counts_evaluations_apart_from_steps():
    seconds = {"rollout": 20.0, "update": 10.0, "evaluation": 50.0, "refresh": 500.0}
    # 3 steps of 10 s are done and one evaluation of 50 s; to come are 97 steps, and evaluations after 50 and 100
    assert time_left(seconds, step=3, total=100, every=50) == (10.0, 97 * 10.0 + 2 * 50.0)
    assert time_left(seconds, step=3, total=100, every=None) == (10.0, 970.0)


def test_an_evaluation_after_the_last_step_is_counted_once():
    seconds = {"update": 8.0, "evaluation": 4.0}
    # 8 of 10 steps; evaluated before the first and after 4 and 8; one more after 10
    assert time_left(seconds, step=8, total=10, every=4) == (1.0, pytest.approx(2.0 + 4 / 3))
    assert time_left(seconds, step=10, total=10, every=5) == (0.8, 0.0)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (119.6, "120 s"), (120, "2 min"), (3599, "60 min")])
def test_time_is_said_in_seconds_or_minutes(seconds, text):
    assert spoken(seconds) == text
