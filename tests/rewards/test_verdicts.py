import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gainrl.rewards.custom import CustomReward
from gainrl.rewards.math import MathReward
from gainrl.rewards.verdicts import LARGEST_VALUE, checked
from gainrl.rewards.weighted import WeightedReward
from gainrl.training.collection import RewardFailures
from gainrl.types import Judgement, Problem, Verdict

PROBLEM = Problem("p", "?", "5")
UNFIT = [math.nan, math.inf, -math.inf, 1e308, -1e308, 2e6, "good", None, [1.0], torch.tensor([1.0, 2.0]), 10**400]


class Fixed:
    def __init__(self, *verdicts):
        self.verdicts = list(verdicts)

    def score(self, completions, problems):
        return self.verdicts


@pytest.mark.parametrize("value", UNFIT, ids=lambda value: str(value)[:12])
def test_a_value_that_cannot_train_becomes_an_error_with_the_reason(value):
    [verdict] = checked([Verdict(Judgement.CORRECT, value)], 1, "Mine")
    assert (verdict.judgement, verdict.value) == (Judgement.ERROR, 0.0)
    assert verdict.detail.startswith("Mine returned the value ")
    assert "scale larger rewards down" in verdict.detail


@given(st.floats(-LARGEST_VALUE, LARGEST_VALUE), st.sampled_from(list(Judgement)))
def test_a_sound_verdict_stays_as_it_is(value, judgement):
    verdict = Verdict(judgement, value, components={"style": 0.5}, detail="why", outcome="pass")
    assert checked([verdict], 1, "Mine") == [verdict]


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_whatever_the_number_the_checked_value_trains(value):
    [verdict] = checked([Verdict(Judgement.WRONG, value)], 1, "Mine")
    assert abs(verdict.value) <= LARGEST_VALUE
    assert verdict.excluded is not (math.isfinite(value) and abs(value) <= LARGEST_VALUE)


def test_numbers_of_other_libraries_become_plain_ones():
    given = Verdict(Judgement.CORRECT, torch.tensor(0.5), components={"a": np.float32(0.25), "b": math.nan})
    [verdict] = checked([given], 1, "Mine")
    assert (verdict.value, type(verdict.value)) == (0.5, float)
    assert verdict.components == {"a": 0.25}
    assert type(verdict.components["a"]) is float


def test_a_judgement_given_as_text_counts_and_an_unknown_one_is_an_error():
    right, odd = checked([Verdict("correct", 1.0), Verdict("perfect", 1.0)], 2, "Mine")
    assert right.correct
    assert odd.judgement is Judgement.ERROR
    assert "use one of: correct, wrong" in odd.detail


def test_the_value_of_an_excluded_completion_is_finite_and_does_not_matter():
    [verdict] = checked([Verdict(Judgement.ERROR, math.nan, detail="no scorer")], 1, "Mine")
    assert (verdict.value, verdict.detail) == (0.0, "no scorer")


def test_anything_but_a_verdict_is_an_error_and_a_wrong_number_of_verdicts_is_refused():
    assert checked([1.0], 1, "Mine")[0].detail == "Mine returned a float in place of a Verdict"
    with pytest.raises(ValueError, match="returned 1 verdicts for 2 completions"):
        checked([Verdict(Judgement.CORRECT, 1.0)], 2, "Mine")
    with pytest.raises(ValueError, match="returned a NoneType"):
        checked(None, 2, "Mine")


def test_a_component_without_weight_may_be_anything():
    right = Fixed(Verdict(Judgement.CORRECT, 1.0))
    for value in (math.nan, 1e308):
        style = Fixed(Verdict(Judgement.CORRECT, value))
        for weight, judgement in ((0.0, Judgement.CORRECT), (0.1, Judgement.ERROR)):
            reward = WeightedReward(
                components={"math": right, "style": style},
                weights={"math": 1.0, "style": weight},
                verdict_from="math",
            )
            [verdict] = reward.score(["x"], [PROBLEM])
            assert verdict.judgement is judgement
            assert verdict.components == {"math": 1.0}
    broken = WeightedReward(
        components={"math": right, "style": Fixed()}, weights={"math": 1.0, "style": 0.0}, verdict_from="math"
    )
    assert broken.score(["x"], [PROBLEM])[0].value == 1.0


def test_failures_are_counted_and_the_others_of_the_batch_are_kept():
    reasons = []
    failures = RewardFailures(max_rate=1.0, give_up=reasons.append)
    reward = failures.watched(Fixed(Verdict(Judgement.CORRECT, 1.0), Verdict(Judgement.CORRECT, math.nan)))
    assert [verdict.judgement for verdict in reward.score(["x", "y"], [PROBLEM] * 2)] == ["correct", "error"]
    assert failures.total == 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MathReward(correct_value=math.nan), "correct_value=nan cannot train"),
        (lambda: MathReward(wrong_value=1e308), r"wrong_value=1e\+308 cannot train"),
        (lambda: CustomReward(path=f"{__file__}:leave", correct_at=math.nan), "correct_at=nan cannot train"),
        (
            lambda: WeightedReward(components={"a": Fixed()}, weights={"a": math.inf}, verdict_from="a"),
            "weights.a=inf cannot train",
        ),
        (
            lambda: WeightedReward(components={"a": Fixed()}, weights={"a": 0}, verdict_from="a"),
            "all weights are 0",
        ),
    ],
)
def test_settings_that_cannot_train_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def leave(completion, problem):
    raise SystemExit(3)


def test_a_function_that_leaves_python_ends_nothing():
    [verdict] = CustomReward(path=f"{__file__}:leave").score(["x"], [PROBLEM])
    assert (verdict.judgement, verdict.detail) == (Judgement.ERROR, "SystemExit: 3")
