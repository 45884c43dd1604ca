"""KL estimators: values by hand, expectations and expected gradients by enumeration over a small vocabulary."""

import math

import pytest
import torch

from gainrl.functional.aggregation import Normalizer
from gainrl.functional.objectives import Objective
from gainrl.functional.policy_loss import kl_estimate, policy_objective

LOGITS = torch.tensor([0.3, -1.2, 0.9, 0.1, -0.4], dtype=torch.float64)
REFERENCE = torch.tensor([-0.5, 0.4, 0.2, 1.1, -0.9], dtype=torch.float64)


@pytest.mark.parametrize(
    ("estimator", "values"),
    [
        ("k1", [-3.0, 0.0, 1.0]),
        ("k2", [4.5, 0.0, 0.5]),
        ("k3", [math.exp(3) - 4, 0.0, math.exp(-1)]),
    ],
)
def test_values_by_hand(estimator, values):
    policy = torch.tensor([[-4.0, -1.0, -1.0]], dtype=torch.float64)
    reference = torch.tensor([[-1.0, -1.0, -2.0]], dtype=torch.float64)
    torch.testing.assert_close(kl_estimate(policy, reference, estimator), torch.tensor([values], dtype=torch.float64))


def test_k3_keeps_its_digits_next_to_the_reference():
    # exp(-d) - 1 + d in float32 is pure rounding noise at d = 1e-4, whose k3 is 5e-9.
    d = torch.tensor([[1e-4]])
    assert float(kl_estimate(d, torch.zeros(1, 1), "k3")) == pytest.approx(5e-9, rel=0.05)


def test_an_unknown_estimator_is_refused():
    with pytest.raises(ValueError, match="use one of k1, k2, k3"):
        kl_estimate(torch.zeros(1, 1), torch.zeros(1, 1), "k4")


def kl_of(p_logits, q_logits):
    p, q = p_logits.log_softmax(0), q_logits.log_softmax(0)
    return (p.exp() * (p - q)).sum()


@pytest.mark.parametrize(("estimator", "unbiased"), [("k1", True), ("k2", False), ("k3", True)])
def test_the_expectations_of_k1_and_k3_are_the_divergence_and_that_of_k2_is_not(estimator, unbiased):
    p, q = LOGITS.log_softmax(0), REFERENCE.log_softmax(0)
    expectation = float((p.exp() * kl_estimate(p[None], q[None], estimator)[0]).sum())
    assert (abs(expectation - float(kl_of(LOGITS, REFERENCE))) < 1e-12) is unbiased


def expected_gradient(estimator, corrected):
    """Gradient with respect to the logits, averaged over tokens drawn from the policy (enumerated, weight p(v))."""
    logits = LOGITS.clone().requires_grad_()
    logprobs = logits.log_softmax(0)
    weights = logprobs.detach().exp()
    total = torch.zeros(())
    for v in range(5):
        result = policy_objective(
            logprobs_BT=logprobs[v].reshape(1, 1),
            old_logprobs_BT=logprobs[v].detach().reshape(1, 1),
            reference_logprobs_BT=REFERENCE.log_softmax(0)[v].reshape(1, 1),
            advantages_BT_or_B=torch.zeros(1),
            mask_BT=torch.ones(1, 1, dtype=torch.bool),
            settings=Objective(beta=1.0, kl_estimator=estimator, kl_ratio_corrected=corrected),
            normalizer=Normalizer(sequences=1, tokens=1, max_tokens=1),
        )
        total = total + weights[v] * result.loss
    return torch.autograd.grad(total, logits)[0]


def gradient_of_kl(forward):
    logits = LOGITS.clone().requires_grad_()
    divergence = kl_of(REFERENCE, logits) if forward else kl_of(logits, REFERENCE)
    return torch.autograd.grad(divergence, logits)[0]


def test_the_expected_gradient_of_k1_in_the_loss_is_zero():
    torch.testing.assert_close(expected_gradient("k1", False), torch.zeros(5, dtype=torch.float64))


def test_the_expected_gradient_of_k2_is_that_of_the_divergence_of_the_policy_from_the_reference():
    torch.testing.assert_close(expected_gradient("k2", False), gradient_of_kl(forward=False))


def test_the_expected_gradient_of_k3_is_that_of_the_divergence_of_the_reference_from_the_policy():
    torch.testing.assert_close(expected_gradient("k3", False), gradient_of_kl(forward=True))


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_ratio_correction_gives_k1_and_k3_the_gradient_of_the_divergence_of_the_policy(estimator):
    torch.testing.assert_close(expected_gradient(estimator, True), gradient_of_kl(forward=False))


@pytest.mark.parametrize(("estimator", "slope"), [("k2", -3.0), ("k3", 1 - math.exp(3)), ("k3_far", 1 - math.exp(30))])
def test_no_clamp_takes_the_gradient_away_far_from_the_reference(estimator, slope):
    distance = -30.0 if estimator == "k3_far" else -3.0
    policy = torch.full((1, 1), distance, dtype=torch.float64, requires_grad=True)
    kl = kl_estimate(policy, torch.zeros(1, 1, dtype=torch.float64), estimator[:2])
    assert float(torch.autograd.grad(kl.sum(), policy)[0]) == pytest.approx(slope)
