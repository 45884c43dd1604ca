"""Clock, schedules, judging and the checks that need no weights."""

from functools import partial

import pytest
import torch

import gainrl.training.runtime as clock_module
from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.objectives import Objective
from gainrl.training.algorithm import Algorithm
from gainrl.training.collection import score_rollout
from gainrl.training.runtime import PhaseClock
from gainrl.training.schedules import Optimization, warmup_then_constant, warmup_then_cosine
from gainrl.types import Judgement, Verdict
from tests.training.rig import data_of, module_of, rollout_of


def test_an_inner_phase_is_taken_out_of_the_outer_one(monkeypatch):
    times = iter([0.0, 2.0, 5.0, 6.0, 10.0, 11.0])
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: next(times))
    clock = PhaseClock()
    clock.count(1)  # outside of all phases
    with clock("outer"):  # 0
        clock.count(7)
        assert clock.current == "outer"
        clock.tell("1/2 parts")
        assert clock.doing == "outer 1/2 parts"
        with clock("inner"):  # 2 to 5
            clock.count(3)
            clock.count(3)
            assert clock.current == clock.doing == "inner"
    # the outer phase ends at 6
    with pytest.raises(RuntimeError), clock("inner"):  # 10 to 11
        raise RuntimeError
    assert clock.seconds == {"outer": 3.0, "inner": 4.0, "other": 4.0}  # 6 to 10
    assert clock.tokens == {"outer": 7, "inner": 6}
    assert (clock.current, clock.doing) == (None, "other")


def rates(make, count, **settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer, **settings)
    seen = []
    for _ in range(count):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_schedules_by_hand():
    assert rates(warmup_then_constant, 5, warmup_updates=3) == [1 / 4, 2 / 4, 3 / 4, 1, 1]
    assert rates(warmup_then_constant, 2, warmup_updates=0) == [1, 1]
    assert rates(warmup_then_cosine, 7, warmup_updates=1, total_updates=5, floor=0.2) == pytest.approx(
        [0.5, 1, 0.2 + 0.4 * (1 + 2**-0.5), 0.6, 0.2 + 0.4 * (1 - 2**-0.5), 0.2, 0.2]
    )


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (warmup_then_constant, {"warmup_updates": -1}, "warmup_updates=-1 must be 0 or more"),
        (warmup_then_cosine, {"warmup_updates": 5, "total_updates": 5}, "total_updates=5 must exceed warmup_updates=5"),
    ],
)
def test_impossible_schedules_are_refused(make, settings, message):
    with pytest.raises(ValueError, match=message):
        rates(make, 1, **settings)


def test_judging_leaves_special_tokens_out_and_gives_lengths_to_rewards_that_ask():
    class Reward:
        uses_lengths = True

        def score(self, completions, problems, *, lengths):
            self.asked = list(completions), [problem.id for problem in problems], lengths
            return [Verdict(Judgement.WRONG, 0.0) for _ in completions]

    module, reward = module_of(), Reward()
    batch = data_of(module).batch([4, 5])
    rollout = rollout_of(module.policy, batch.prompts, 2, ["1<end>", "23", "4<end>", "<end>"])
    texts, verdicts = score_rollout(module.policy, reward, rollout, batch.problems)
    assert texts == ["1", "23", "4", ""]
    assert reward.asked == (texts, ["train-4", "train-4", "train-5", "train-5"], [2, 2, 2, 1])
    assert len(verdicts) == 4


GOOD = {"objective": Objective(), "advantage": AdvantageSettings(), "group_size": 8, "minibatch_prompts": 4}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_size": 1}, r"group_size=1: advantages compare .* type algorithm.group_size=8"),
        ({"minibatch_prompts": 5}, r"minibatch_prompts=5 does not divide .*12.* type algorithm.minibatch_prompts=4"),
        ({"minibatch_prompts": 24}, r"minibatch_prompts=24 does not divide .* type algorithm.minibatch_prompts=12"),
        ({"inner_epochs": 0}, "inner_epochs=0 would learn from nothing"),
        ({"micro_batch_size": 0}, "micro_batch_size=0 must be 1 or more, or null"),
    ],
)
def test_batch_sizes_that_contradict_are_refused_with_one_that_works(changes, message):
    assert Algorithm(**GOOD).minibatch_of(12) == 4
    with pytest.raises(ValueError, match=message):
        Algorithm(**(GOOD | changes)).minibatch_of(12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"truncated": "drop"}, "truncated='drop' is unknown; use keep, mask or exclude"),
        ({"overlong": {"buffer": 3}}, r"buffer_fraction:0\.2"),
        ({"overlong": {"buffer_fraction": 1.5}}, r"in \(0, 1\]"),
        ({"reference_sync": {"every": 5}}, r"reference_sync=\{'every': 5\} must name"),
        ({"reference_sync": {"every": 0, "mixing": 0.5}}, "every:64,mixing:0.6"),
    ],
)
def test_settings_of_completions_and_reference_are_checked_whole(changes, message):
    with pytest.raises(ValueError, match=message):
        Algorithm(**(GOOD | changes))


def test_an_optimizer_that_refuses_its_settings_shows_before_a_model_is_there():
    with pytest.raises(ValueError, match="Invalid learning rate"):
        Optimization(optimizer=partial(torch.optim.AdamW, lr=-1.0))
    with pytest.raises(ValueError, match=r"max_grad_norm=0 must be positive; type optimizer\.max_grad_norm=1\.0"):
        Optimization(optimizer=torch.optim.AdamW, max_grad_norm=0)
