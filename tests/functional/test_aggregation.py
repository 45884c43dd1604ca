import pytest
import torch

from gainrl.functional.aggregation import row_means, training_masks, zero_outside


def test_what_stands_outside_the_mask_reaches_neither_value_nor_gradient():
    values = torch.tensor([[1.0, float("nan")], [float("inf"), 2.0]], requires_grad=True)
    total = zero_outside(values, torch.tensor([[True, False], [False, True]])).square().sum()
    assert total.item() == 5.0
    assert torch.autograd.grad(total, values)[0].tolist() == [[2.0, 0.0], [0.0, 4.0]]


def test_the_mean_of_a_row_is_over_its_own_tokens_and_zero_without_any():
    values = torch.tensor([[1.0, 3.0, 9.0], [5.0, 5.0, 5.0]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert row_means(values, mask).tolist() == [2.0, 0.0]


@pytest.mark.parametrize(
    ("rule", "in_baseline", "in_loss"),
    [
        ("keep", [True, True, False, True], [True, True, False, True]),
        ("mask", [True, True, False, True], [True, False, False, True]),
        ("exclude", [True, False, False, True], [True, False, False, True]),
    ],
)
def test_truncated_and_unjudged_completions_leave_the_baseline_and_the_loss_by_rule(rule, in_baseline, in_loss):
    # Two prompts with two completions each: the second was truncated, the third could not be judged.
    valid, mask = training_masks(
        mask_BT=torch.ones(4, 3, dtype=torch.bool),
        valid_PG=torch.tensor([[True, True], [False, True]]),
        truncated_PG=torch.tensor([[False, True], [False, False]]),
        rule=rule,
    )
    assert valid.tolist() == [in_baseline[:2], in_baseline[2:]]
    assert mask.tolist() == [[flag] * 3 for flag in in_loss]


def test_an_unknown_rule_is_refused():
    flags = torch.ones(1, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match="keep, mask, exclude"):
        training_masks(mask_BT=flags, valid_PG=flags, truncated_PG=flags, rule="drop")
