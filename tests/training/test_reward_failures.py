from __future__ import annotations

from types import SimpleNamespace

import pytest

from gainrl.training.collection import RewardFailures
from gainrl.training.upkeep.interruption import Stopped, StopRequest
from gainrl.types import Judgement, Verdict
from tests.training.resumable import run, same_run, table

GOOD, BAD = Verdict(Judgement.CORRECT, 1.0), Verdict(Judgement.ERROR, 0.0, detail="died: twice")


class Scripted:
    """Verdicts one call after the other."""

    uses_lengths = True

    def __init__(self, *calls) -> None:
        self.calls = list(calls)

    def score(self, completions, problems, lengths=None):
        verdicts = self.calls.pop(0)
        if isinstance(verdicts, Exception):
            raise verdicts
        return verdicts


def reasons(*calls, max_rate=0.1, window=20):
    said = []
    failures = RewardFailures(max_rate=max_rate, give_up=said.append, window=window)
    reward = failures.watched(Scripted(*calls))
    for call in calls:
        reward.score([""] * (1 if isinstance(call, Exception) else len(call)), [], lengths=[])
    return said, failures


def test_a_tenth_of_twenty_is_two_and_the_third_failure_gives_up():
    assert reasons([GOOD] * 10 + [BAD] * 2)[0] == []
    said, failures = reasons([GOOD] * 10 + [BAD] * 2, [BAD])
    assert failures.total == 3
    assert said == [
        "3 of the last 13 completions could not be judged, which is more than faults.reward_failure_rate=0.1 of 20; "
        "the last one: died: twice"
    ]


def test_failures_are_forgotten_when_enough_has_been_judged_since():
    assert reasons([BAD, BAD], [GOOD] * 20, [BAD, BAD])[0] == []


def test_the_first_failure_gives_up_at_rate_0_and_none_does_at_rate_1():
    assert len(reasons([BAD], max_rate=0.0)[0]) == 1
    assert reasons([BAD] * 50, max_rate=1.0)[0] == []


def test_faults_of_the_data_are_no_failures_of_the_judge():
    assert reasons([Verdict(Judgement.GOLD_UNPARSABLE, 0.0)] * 30, max_rate=0.0)[0] == []


def test_a_reward_that_raises_has_failed_for_all_its_completions():
    said, failures = reasons(RuntimeError("the sandbox is gone"), max_rate=0.0)
    assert failures.total == 1
    assert said[0].endswith("the last one: RuntimeError: the sandbox is gone")


def test_everything_else_of_the_reward_is_reached():
    watched = RewardFailures(max_rate=0.1, give_up=lambda reason: None).watched(Scripted([GOOD]))
    assert watched.uses_lengths
    assert watched.score(["a"], [SimpleNamespace()], lengths=[1]) == [GOOD]
    assert not hasattr(watched, "answer_key")


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_what_is_no_share_is_refused(rate):
    with pytest.raises(ValueError, match=f"faults.reward_failure_rate={rate} is not a share"):
        RewardFailures(max_rate=rate, give_up=print)


# ------------------------------------------------------------------------------------------ the end of a run


def giving_up(step: int):
    """Gives up in the rollouts of a step."""

    def alter(module, checkpoints) -> None:
        honest = module.engine.generate

        def generate(*arguments):
            if module.counters.step == step - 1:
                checkpoints.stop.give_up("the judge is gone")
            return honest(*arguments)

        module.engine.generate = generate

    return alter


def test_the_run_stops_after_the_step_with_its_checkpoint_and_goes_on_from_there(tmp_path):
    with pytest.raises(
        Stopped, match=r"step 5: the judge is gone\. Repaired, .* goes on from the checkpoint of step 5"
    ):
        run(tmp_path / "stopped", alter=giving_up(5), every_steps=None)
    kept = {path.name for path in (tmp_path / "stopped" / "checkpoints").glob("step-*")}
    assert kept == {"step-000003.ckpt", "step-000005.ckpt"}  # the third was the best so far
    assert same_run(run(tmp_path / "stopped"), run(tmp_path / "whole")) == []
    assert table(tmp_path / "stopped") == table(tmp_path / "whole")


def test_a_step_whose_evaluation_may_be_spoilt_is_not_kept(tmp_path):
    with pytest.raises(Stopped, match="goes on from the checkpoint of step 2"):
        run(tmp_path, alter=giving_up(3), every_steps=2)
    assert [path.name for path in (tmp_path / "checkpoints").glob("step-*")] == ["step-000002.ckpt"]


def test_nothing_begins_with_a_judge_that_failed_in_the_evaluation_before(tmp_path):
    with pytest.raises(Stopped, match="before the next step: the judge is gone"):
        run(tmp_path, alter=lambda module, checkpoints: checkpoints.stop.give_up("the judge is gone"))
    assert not (tmp_path / "checkpoints").exists()


def test_the_first_reason_counts():
    stop = StopRequest()
    stop.give_up("first")
    stop.give_up("second")
    assert stop.reason == "first"
