from collections.abc import Sequence

import pytest

from gainrl.rewards.length import LengthReward
from gainrl.rewards.weighted import WeightedReward
from gainrl.types import Judgement, Problem, Verdict

PROBLEM = Problem("p", "?", "5")


class Fixed:
    """Says the same of every completion."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def score(self, completions: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        return [self.verdict] * len(completions)


RIGHT = Fixed(Verdict(Judgement.CORRECT, 1.0))
HALF = Fixed(Verdict(Judgement.WRONG, 0.5))
BROKEN = Fixed(Verdict(Judgement.ERROR, 0.0, detail="no scorer"))


def test_the_value_is_the_weighted_sum_and_one_component_gives_the_judgement() -> None:
    reward = WeightedReward(
        components={"math": RIGHT, "format": HALF}, weights={"math": 1.0, "format": 0.2}, verdict_from="math"
    )
    [verdict] = reward.score(["x"], [PROBLEM])
    assert verdict.value == pytest.approx(1.1)
    assert verdict.components == {"math": 1.0, "format": 0.5}
    assert verdict.correct


def test_lengths_reach_the_component_that_counts_them() -> None:
    length = LengthReward(max_length=10, soft_zone=10)
    reward = WeightedReward(
        components={"math": RIGHT, "length": length}, weights={"math": 1, "length": 1}, verdict_from="math"
    )
    assert reward.uses_lengths
    assert [verdict.value for verdict in reward.score(["x", "y"], [PROBLEM] * 2, lengths=[0, 5])] == [1.0, 0.5]


@pytest.mark.parametrize(("weight", "judgement"), [(0.1, Judgement.ERROR), (0.0, Judgement.CORRECT)])
def test_a_component_that_fails_excludes_the_completion_only_if_it_has_a_weight(
    weight: float, judgement: Judgement
) -> None:
    reward = WeightedReward(
        components={"math": RIGHT, "style": BROKEN}, weights={"math": 1.0, "style": weight}, verdict_from="math"
    )
    [verdict] = reward.score(["x"], [PROBLEM])
    assert verdict.judgement is judgement
    assert verdict.components == {"math": 1.0}


def test_sums_of_sums_name_their_parts() -> None:
    inner = WeightedReward(components={"a": RIGHT, "b": HALF}, weights={"a": 1, "b": 1}, verdict_from="a")
    outer = WeightedReward(components={"inner": inner}, weights={"inner": 2}, verdict_from="inner")
    [verdict] = outer.score(["x"], [PROBLEM])
    assert verdict.value == 3.0
    assert verdict.components == {"inner": 1.5, "inner/a": 1.0, "inner/b": 0.5}


def test_names_must_match() -> None:
    with pytest.raises(ValueError, match="one weight for each"):
        WeightedReward(components={"math": RIGHT}, weights={"maths": 1.0}, verdict_from="math")
    with pytest.raises(ValueError, match="verdict_from='format'"):
        WeightedReward(components={"math": RIGHT}, weights={"math": 1.0}, verdict_from="format")
