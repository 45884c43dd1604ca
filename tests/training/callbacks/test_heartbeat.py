import io
import re

import pytest
from rich.console import Console

from gainrl.training.callbacks import Evaluation, Heartbeat
from gainrl.training.callbacks.heartbeat import spoken, time_left
from tests.training.rig import data_of, fit, module_of


def shown(*, terminal, seconds):
    """What is printed where every look at the clock is ``seconds`` after the last one."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160)
    module = module_of()
    times = iter(range(10**6))
    callbacks = [
        Evaluation(every=2, samples=0, max_new_tokens=2),
        Heartbeat(console=console, now=lambda: seconds * next(times)),
    ]
    fit(module, data_of(module, steps=3), callbacks)
    return console.file.getvalue().splitlines()


def test_a_slow_run_says_what_it_is_at_and_what_is_left():
    lines = shown(terminal=False, seconds=20)
    assert any(line.startswith("step     0/3  evaluation") and "problems" in line for line in lines)
    assert any(line.startswith("step     1/3  rollout") and re.search(r"s a step, \d+ s left", line) for line in lines)
    assert any(line.startswith("step     1/3  update 1/1 passes  reward") for line in lines)


def test_a_fast_run_and_a_terminal_see_nothing_of_it():
    assert shown(terminal=False, seconds=0.001) == []
    assert shown(terminal=True, seconds=20) == []


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
