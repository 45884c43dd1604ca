import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainrl.rewards.length import LengthReward
from gainrl.types import Problem


def penalties(lengths: list[int], **settings: object) -> list[float]:
    problems = [Problem("p", "?", "5")] * len(lengths)
    verdicts = LengthReward(**settings).score(["x"] * len(lengths), problems, lengths=lengths)  # type: ignore[arg-type]
    return [verdict.value for verdict in verdicts]


def test_the_penalty_grows_over_the_soft_zone_and_stops_at_the_maximum() -> None:
    assert penalties([0, 60, 70, 80, 100, 101, 9999], max_length=100, soft_zone=40) == [
        0.0,
        0.0,
        -0.25,
        -0.5,
        -1.0,
        -1.0,
        -1.0,
    ]


@given(st.integers(1, 50), st.integers(0, 50), st.lists(st.integers(0, 200), min_size=2))
def test_longer_is_never_better(soft_zone: int, rest: int, lengths: list[int]) -> None:
    values = penalties(sorted(lengths), max_length=soft_zone + rest, soft_zone=soft_zone)
    assert values == sorted(values, reverse=True)
    assert all(-1.0 <= value <= 0.0 for value in values)


def test_tokens_must_be_passed_and_characters_are_counted() -> None:
    problems = [Problem("p", "?", "5")]
    with pytest.raises(ValueError, match="unit=characters"):
        LengthReward(max_length=10, soft_zone=5).score(["x" * 8], problems)
    reward = LengthReward(max_length=10, soft_zone=5, unit="characters")
    assert not reward.uses_lengths
    assert reward.score(["x" * 8], problems)[0].value == pytest.approx(-0.6)


@pytest.mark.parametrize("soft_zone", [0, 11])
def test_a_soft_zone_outside_the_length_is_refused(soft_zone: int) -> None:
    with pytest.raises(ValueError, match=f"soft_zone={soft_zone}"):
        LengthReward(max_length=10, soft_zone=soft_zone)
