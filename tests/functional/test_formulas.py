"""The objective as text, and the report of settings without effect."""

import dataclasses

import pytest
import torch

from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.aggregation import Normalizer
from gainrl.functional.formulas import describe, ineffective_knobs
from gainrl.functional.objectives import Objective
from gainrl.functional.policy_loss import policy_objective


def test_the_formula_of_grpo():
    text = describe(Objective(aggregation="sequence_mean", beta=0.04), AdvantageSettings())
    assert text.splitlines() == [
        "loss = 1/S Σ_i 1/L_i Σ_t [ -min(ρ_t·A, clip(ρ_t, 0.8, 1.2)·A) + 0.04·k3 ]",
        "  S completions of the optimizer step, L_i tokens of completion i",
        "  ρ_t = exp(lp_t - lo_t)",
        "  k3 = exp(-d) - 1 + d, d = lp_t - lr_t",
        "A_i = (r_i - mean(r)) / (std(r) + 0.0001), ddof=1",
        "  exactly 0 in groups whose rewards are all equal",
    ]


@pytest.mark.parametrize(
    ("objective", "advantage", "fragment"),
    [
        ({"clip": "higher", "epsilon_high": 0.28}, {}, "clip(ρ_t, 0.8, 1.28)·A"),
        ({"clip": "two_sided", "delta": 4.0}, {}, "-min(min(ρ_t, 4)·A, clip(ρ_t, 0.8, 1.2)·A)"),
        ({"clip": "dual", "delta": 3.0}, {}, "(at most -3·A where A < 0)"),
        ({"clip": "cispo", "epsilon": None, "epsilon_high": 4.0}, {}, "-sg[min(ρ_t, 5)]·A·lp_t"),
        ({"clip": "cispo", "epsilon": 0.5, "epsilon_high": 4.0}, {}, "-sg[clip(ρ_t, 0.5, 5)]·A·lp_t"),
        ({"clip": "none", "epsilon": None}, {}, "[ -ρ_t·A ]"),
        ({"ratio": "sequence"}, {}, "ρ_i = exp(mean_t(lp_t - lo_t))"),
        ({"aggregation": "constant"}, {}, "1/(S·T) Σ_i Σ_t"),
        ({"aggregation": "token_mean"}, {}, "1/N Σ_i Σ_t"),
        ({"beta": 0.1, "kl_estimator": "k2", "kl_ratio_corrected": True}, {}, "+ 0.1·ρ_t·k2"),
        ({"entropy_coefficient": 0.01}, {}, "- 0.01·H_t"),
        ({"beta": 0.1, "kl_estimator": "k1", "kl_placement": "reward"}, {}, "r_i = reward_i - Σ_t 0.1·k1_t"),
        ({"beta": 0.1, "kl_estimator": "k1", "kl_placement": "reward"}, {}, "k1 = d, d = lo_t - lr_t"),
        ({}, {"baseline": "leave_one_out", "scale": "none"}, "A_i = r_i - mean(r_j, j≠i)"),
        ({}, {"scale": "batch", "ddof": 0}, "std(r of the whole step) + 0.0001), ddof=0"),
        ({}, {"baseline": "none", "scale": "tokens"}, "over all tokens of the step"),
    ],
)
def test_every_setting_shows_in_the_formula(objective, advantage, fragment):
    assert fragment in describe(Objective(**objective), AdvantageSettings(**advantage))


@pytest.mark.parametrize(
    ("objective", "advantage", "updates", "named"),
    [
        ({"clip": "none"}, {}, None, "objective.epsilon has no effect with objective.clip=none"),
        ({"epsilon_high": 0.3}, {}, None, "objective.epsilon_high has no effect"),
        ({"delta": 3.0}, {}, None, "objective.delta has no effect"),
        ({"clip": "higher", "epsilon_high": 0.2}, {}, None, "is objective.clip=symmetric"),
        ({}, {}, None, "objective.kl_estimator and objective.kl_placement have no effect with objective.beta=0"),
        ({"kl_ratio_corrected": True}, {}, None, "objective.kl_ratio_corrected has no effect with objective.beta=0"),
        (
            {"kl_ratio_corrected": True, "beta": 0.1, "kl_placement": "reward"},
            {},
            None,
            "objective.kl_ratio_corrected has no effect with objective.kl_placement=reward",
        ),
        ({}, {"scale": "none"}, None, "advantage.ddof and advantage.eps have no effect"),
        ({}, {}, 1, "objective.clip=symmetric has no effect: with one update"),
        ({"ratio": "sequence"}, {}, 1, "objective.ratio=sequence has the gradient of objective.ratio=token"),
        ({"beta": 0.1, "kl_estimator": "k1"}, {}, 1, "expected gradient of zero"),
    ],
)
def test_a_setting_without_effect_is_named(objective, advantage, updates, named):
    remarks = ineffective_knobs(Objective(**objective), AdvantageSettings(**advantage), updates_per_rollout=updates)
    assert any(named in remark for remark in remarks)


def test_nothing_is_reported_where_every_setting_counts():
    objective = Objective(clip="higher", epsilon_high=0.28, beta=0.1)
    assert ineffective_knobs(objective, AdvantageSettings(), updates_per_rollout=4) == []


def gradient(objective, *, on_policy):
    generator = torch.Generator().manual_seed(0)
    old = -torch.rand((4, 5), generator=generator, dtype=torch.float64) - 0.1
    shift = torch.zeros_like(old) if on_policy else torch.randn(old.shape, generator=generator, dtype=torch.float64)
    mask = torch.arange(5)[None] < torch.tensor([5, 2, 4, 1])[:, None]
    logprobs = (old + shift).requires_grad_()
    result = policy_objective(
        logprobs_BT=logprobs,
        old_logprobs_BT=old,
        reference_logprobs_BT=old - 0.3,
        advantages_BT_or_B=torch.tensor([1.0, -1.0, 0.5, -2.0], dtype=torch.float64),
        mask_BT=mask,
        settings=objective,
        normalizer=Normalizer.of_step(mask, max_tokens=5),
    )
    return torch.autograd.grad(result.loss, logprobs)[0]


@pytest.mark.parametrize(
    ("base", "change", "updates"),
    [
        ({"clip": "none"}, {"epsilon": 0.01}, None),
        ({"epsilon_high": 0.3}, {"epsilon_high": 0.9}, None),
        ({"delta": 3.0}, {"delta": 1.3}, None),
        ({"clip": "higher", "epsilon_high": 0.2}, {"clip": "symmetric"}, None),
        ({}, {"kl_estimator": "k1"}, None),
        ({}, {"kl_placement": "reward"}, None),
        ({"beta": 0.1, "kl_placement": "reward", "kl_ratio_corrected": True}, {"kl_ratio_corrected": False}, None),
        ({"clip": "dual", "delta": 3.0}, {"clip": "none"}, 1),
        ({"clip": "cispo", "epsilon_high": 1.0}, {"clip": "none"}, 1),
        ({"ratio": "sequence", "aggregation": "sequence_mean"}, {"ratio": "token"}, 1),
        ({"ratio": "sequence", "aggregation": "token_mean", "beta": 0.1}, {"ratio": "token"}, 1),
    ],
)
def test_what_is_reported_as_without_effect_leaves_the_gradient_alone(base, change, updates):
    objective = Objective(**base)
    changed = dataclasses.replace(objective, **change)
    remarks = " ".join(ineffective_knobs(objective, AdvantageSettings(), updates_per_rollout=updates))
    assert all(f"objective.{name}" in remarks for name in change)
    on_policy = updates == 1
    torch.testing.assert_close(gradient(objective, on_policy=on_policy), gradient(changed, on_policy=on_policy))


@pytest.mark.parametrize(
    ("objective", "advantage"),
    [({}, {"scale": "tokens"}), ({"beta": 0.1, "kl_ratio_corrected": True}, {})],
)
def test_a_sequence_ratio_counts_even_on_policy_where_tokens_differ_in_advantage_or_weigh_the_kl(objective, advantage):
    settings = Objective(ratio="sequence", **objective), AdvantageSettings(**advantage)
    assert "objective.ratio" not in " ".join(ineffective_knobs(*settings, updates_per_rollout=1))
