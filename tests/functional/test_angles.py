import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gainrl.functional.angles import (
    concentration,
    direction_sums,
    inter_concentration,
    intra_concentration,
    segment_sums,
)


def cosine(a, b):
    norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / norms if norms else 0.0


def mean_cosine(rows, columns, skip_same=False):
    """The definition, pair by pair in float64."""
    pairs = [cosine(a, b) for i, a in enumerate(rows) for j, b in enumerate(columns) if not (skip_same and i == j)]
    return sum(pairs) / len(pairs)


@st.composite
def states(draw):
    tokens, split, width = draw(st.integers(4, 9)), draw(st.integers(1, 2)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    hidden = torch.randn(tokens, width, generator=generator, dtype=torch.float64)
    hidden = hidden * 10.0 ** draw(st.integers(-3, 3))
    if draw(st.booleans()):
        hidden[draw(st.integers(0, tokens - 1))] = 0.0
    return hidden, split


@given(states())
@settings(max_examples=60, deadline=None)
def test_concentration_is_the_mean_over_all_pairs(case):
    hidden, split = case
    rows, prefix = hidden[split:].tolist(), hidden[:split].tolist()
    intra, inter = concentration(hidden, (split, len(hidden)), (0, split))
    without, _ = concentration(hidden, (split, len(hidden)), (0, split), diagonal=False)
    assert float(intra) == pytest.approx(mean_cosine(rows, rows), abs=1e-12)
    assert float(inter) == pytest.approx(mean_cosine(rows, prefix), abs=1e-12)
    assert float(without) == pytest.approx(mean_cosine(rows, rows, skip_same=True), abs=1e-12)


@given(states())
@settings(max_examples=30, deadline=None)
def test_length_of_the_states_and_order_of_the_tokens_do_not_matter(case):
    hidden, split = case
    scaled = hidden * torch.linspace(0.5, 3.0, len(hidden), dtype=torch.float64)[:, None]
    shuffled = torch.cat([scaled[:split], scaled[split:].flip(0)])
    expected = concentration(hidden, (split, len(hidden)), (0, split))
    found = concentration(shuffled, (split, len(hidden)), (0, split))
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), atol=1e-12, rtol=0)


def test_values_that_can_be_checked_by_hand():
    # Two right angles and a half: x, y, and the prefix along x.
    hidden = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 5.0]])
    intra, inter = concentration(hidden, (1, 3), (0, 1))
    assert float(intra) == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert float(inter) == pytest.approx(0.5)
    assert float(concentration(hidden, (1, 3), (0, 1), diagonal=False)[0]) == pytest.approx(0.0)


def test_the_diagonal_lifts_short_questions():
    # Orthogonal tokens: mean off-diagonal cosine 0, so that C_intra is 1/m.
    for m in (2, 4):
        assert float(concentration(torch.eye(5), (0, m), (4, 5))[0]) == pytest.approx(1 / m)


def test_batched_sums_equal_single_prompts():
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randn(length, 4, generator=generator) for length in (5, 1, 3)]
    padded = torch.full((3, 5, 4), float("nan"))
    mask = torch.zeros(3, 5, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        padded[row, : len(prompt)] = prompt
        mask[row, : len(prompt)] = True
    expected = torch.stack([concentration(prompt, (0, len(prompt)), (0, 1))[0] for prompt in prompts])
    sums = direction_sums(padded, mask)
    torch.testing.assert_close(intra_concentration(sums), expected)
    assert sums.tokens.tolist() == [5, 1, 3]


def test_segments_summed_together_equal_segments_summed_apart():
    hidden = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(3))
    hidden[1, 5], hidden[0, 0] = float("nan"), 0.0  # padding, and a token without a direction
    masks = torch.zeros(2, 2, 6, dtype=torch.bool)
    masks[:, 0, :2], masks[:, 1, 2:5] = True, True
    together = segment_sums(hidden, masks)
    for index in range(2):
        apart = direction_sums(hidden, masks[:, index])
        torch.testing.assert_close(together.segment(index).total, apart.total)
        assert together.segment(index).tokens.tolist() == apart.tokens.tolist() == [[2, 2], [3, 3]][index]
        assert together.segment(index).directed.tolist() == apart.directed.tolist() == [[1, 2], [3, 3]][index]


def test_joined_segments_equal_the_whole():
    hidden = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    left = torch.arange(7) < 3
    whole = direction_sums(hidden, torch.ones(7, dtype=torch.bool))
    joined = direction_sums(hidden, left) + direction_sums(hidden, ~left)
    torch.testing.assert_close(intra_concentration(joined), intra_concentration(whole))
    torch.testing.assert_close(inter_concentration(joined, whole), intra_concentration(whole))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_states_are_summed_in_float32(dtype):
    hidden = torch.randn(3000, 8, generator=torch.Generator().manual_seed(2)).add(0.5).to(dtype)
    intra, _ = concentration(hidden, (0, 3000), (0, 1))
    assert intra.dtype == torch.float32
    exact, _ = concentration(hidden.double(), (0, 3000), (0, 1))
    assert float(intra) == pytest.approx(float(exact), abs=1e-6)


def test_half_precision_states_that_overflow_when_squared_keep_their_direction():
    hidden = torch.tensor([[60000.0, 0.0], [60000.0, 60000.0]], dtype=torch.float16)
    intra, _ = concentration(hidden, (0, 2), (0, 1))
    assert float(intra) == pytest.approx((2 + 2 * math.sqrt(0.5)) / 4, abs=1e-6)


def test_undefined_means_are_nan():
    hidden = torch.ones(3, 2)
    assert torch.isnan(concentration(hidden, (1, 1), (0, 1))[0])
    assert torch.isnan(concentration(hidden, (1, 3), (0, 0))[1])
    assert torch.isnan(concentration(hidden, (1, 2), (0, 1), diagonal=False)[0])


def test_spans_and_masks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="question span"):
        concentration(torch.ones(3, 2), (1, 4), (0, 1))
    with pytest.raises(ValueError, match="bool mask"):
        direction_sums(torch.ones(3, 2), torch.ones(3))


def test_sums_stay_float32_under_autocast():
    hidden, mask = torch.randn(2, 300, 16), torch.ones(2, 300, dtype=torch.bool)
    expected = direction_sums(hidden, mask)
    with torch.autocast("cpu", torch.bfloat16):
        found = direction_sums(hidden, mask)
    assert found.total.dtype == torch.float32
    torch.testing.assert_close(found.total, expected.total)
