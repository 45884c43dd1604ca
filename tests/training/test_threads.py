import pytest
import torch

import gainrl.training.threads as threads_module
from gainrl.training.threads import available_threads, check_threads, faster_threads, training_pass
from gainrl.types import PromptTokens
from tests.training.rig import tiny_policy


@pytest.fixture
def machine(monkeypatch):
    """A clock that moves by what the work costs with the threads that are set, and the threads in a list."""
    state = {"now": 0.0, "set": [], "cost": {}}
    monkeypatch.setattr(threads_module.time, "perf_counter", lambda: state["now"])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: state["set"].append(count))
    return state


def work_on(machine):
    def work():
        machine["now"] += machine["cost"][machine["set"][-1]]

    return work


@pytest.mark.parametrize(("cost", "chosen"), [({1: 0.2, 4: 0.1}, 4), ({1: 0.1, 4: 0.3}, 1), ({1: 0.1, 4: 0.1}, 1)])
def test_the_faster_number_of_threads_stays_set(machine, cost, chosen):
    machine["cost"] = cost
    choice = faster_threads(work_on(machine), [1, 4])
    assert (choice.threads, machine["set"][-1]) == (chosen, chosen)
    assert choice.seconds == pytest.approx(cost)


def test_the_choice_says_what_was_tried(machine):
    machine["cost"] = {1: 0.05, 2: 0.5}
    said = str(faster_threads(work_on(machine), [1, 2]))
    assert said == "1 thread (of a training pass with 1: 50 ms, 2: 500 ms)"


@pytest.mark.parametrize("value", [1, 8, "auto"])
def test_numbers_of_threads_and_auto_are_accepted(value):
    assert check_threads(value) == value


@pytest.mark.parametrize("value", [0, -2, True, "all", None, 1.5])
def test_what_is_no_number_of_threads_is_refused(value):
    with pytest.raises(ValueError, match=r"trainer\.threads=.*auto"):
        check_threads(value)


def test_the_environment_s_limit_counts_as_all_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert available_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert available_threads() >= 1


def test_a_pass_leaves_the_weights_and_no_gradient(monkeypatch):
    policy = tiny_policy()
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    prompts = [PromptTokens((5, 6, 7), {"question": (0, 3)})] * 3
    training_pass(policy, prompts, group_size=8, max_new_tokens=4)()
    assert all(parameter.grad is None for parameter in policy.model.parameters())
    assert all(value.equal(before[name]) for name, value in policy.model.state_dict().items())
