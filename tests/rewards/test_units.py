from fractions import Fraction

import pytest

from gainrl.rewards.units import read_unit, size_ratio, split_unit


@pytest.mark.parametrize(
    ("text", "head"),
    [
        (r"12\pi\text{ cm}^2", r"12\pi"),
        (r"\sqrt{3} \text{m}\cdot\text{s}^{-1}", r"\sqrt{3}"),
        ("30 km/h", "30"),
        ("30km", "30"),
        ("7 apples", "7"),
        (r"9x\text{ dollars}", "9x"),
        (r"45^\circ", "45"),
        (r"5\%\text{ per year}", r"5\%"),
    ],
)
def test_a_unit_is_split_off(text: str, head: str) -> None:
    assert split_unit(text)[0] == head
    assert split_unit(text)[1] is not None


@pytest.mark.parametrize(
    "text",
    [
        "5 xy",
        "27m^2",
        "3x",
        r"5\text{ negative}",
        r"5\text{.5}",
        "5 or 6",
        r"\sin 60^\circ",
        r"2 \sin b \cos a",
        "5 ^2",
    ],
)
def test_factors_and_words_that_change_the_value_stay(text: str) -> None:
    assert split_unit(text) == (text, None)


@pytest.mark.parametrize(
    ("left", "right", "ratio"),
    [
        ("km", "m", Fraction(1000)),
        (r"\text{cm}^2", r"\text{m}^2", Fraction(1, 10_000)),
        ("square feet", "square inches", Fraction(144)),
        (r"\text{ km}/\text{h}", r"\text{m}\cdot\text{s}^{-1}", Fraction(5, 18)),
        ("miles per hour", "mph", Fraction(1)),
        ("dollars per hour", "dollars", Fraction(1)),
        ("dollars", "cents", Fraction(100)),
        ("apples", "metres", Fraction(1)),
        ("metres", "hours", None),
        ("m", r"\text{m}^2", None),
        ("dollars", "euros", None),
    ],
)
def test_the_ratio_of_two_units(left: str, right: str, ratio: Fraction | None) -> None:
    assert size_ratio(read_unit(left), read_unit(right)) == ratio


def test_a_missing_unit_agrees_with_any() -> None:
    assert size_ratio(None, read_unit("km")) == 1


def test_scale_words_are_a_factor() -> None:
    unit = read_unit(r"\text{ million dollars}")
    assert unit is not None
    assert unit.factor == 1_000_000
