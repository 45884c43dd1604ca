from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from math_verify import parse, verify

from gainrl.rewards.notation import clean
from gainrl.rewards.numerals import fast_number, read_number, same_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-3", Fraction(-3)),
        ("0.125", Fraction(1, 8)),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"-\frac34", Fraction(-3, 4)),
        (r"2\frac{1}{2}", Fraction(5, 2)),
        ("6/8", Fraction(3, 4)),
        (r"1.5 \times 10^{3}", Fraction(1500)),
        ("2e-3", Fraction(1, 500)),
        (r"\$4.50", Fraction(9, 2)),
        (r"67.\overline{3}", Fraction(202, 3)),
        (r"-0.1\overline{6}", Fraction(-1, 6)),
        ("3 dozen", Fraction(36)),
        (r"7\text{ cm}^2", Fraction(7)),
        ("2 million dollars", Fraction(2_000_000)),
    ],
)
def test_spellings_of_numbers(text: str, value: Fraction) -> None:
    number = read_number(clean(text))
    assert number is not None
    assert number.value == value


@pytest.mark.parametrize("text", ["", "x", "5x", "5 x", "1/0", "1e99999", "5 or 6", "2^3", "(1,2)", "9" * 500])
def test_anything_else_is_not_a_plain_number(text: str) -> None:
    assert read_number(text) is None


def test_a_percentage_has_two_readings_but_two_percentages_have_one() -> None:
    twenty, hundredth, share = (read_number(text) for text in (r"20\%", r"0.2\%", "0.2"))
    assert twenty
    assert hundredth
    assert share
    assert same_number(twenty, share)
    assert not same_number(twenty, hundredth)


def test_decimals_agree_to_six_places_and_integers_exactly() -> None:
    third, near, far = (read_number(text) for text in (clean(r"\frac13"), "0.333333", "0.33333"))
    assert third
    assert near
    assert far
    assert same_number(near, third)
    assert not same_number(far, third)


digits = st.text(alphabet="0123456789", min_size=1, max_size=9)
plain = st.builds(
    lambda sign, whole, part: sign + whole + ("." + part if part else ""),
    st.sampled_from(["", "-", "+"]),
    st.one_of(digits, st.integers(0, 10**12).map(lambda number: f"{number:,}")),
    st.text(alphabet="0123456789", max_size=6),
)


@settings(max_examples=150, deadline=None)
@given(plain, plain, st.booleans())
def test_the_fast_comparison_agrees_with_math_verify(left: str, right: str, respell: bool) -> None:
    if respell:  # else two random numbers are hardly ever equal
        right = left.replace(",", "").replace("+", "")
    values = fast_number(left), fast_number(right)
    if None in values:
        return
    expressions = [parse(rf"\boxed{{{text}}}", parsing_timeout=None) for text in (left, right)]
    assert (values[0] == values[1]) == verify(*expressions, timeout_seconds=None)
