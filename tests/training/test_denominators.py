"""A metric is a mean over what docs/metrics.md names, whichever completions the settings send through the model."""

import math

import numpy as np
import pytest

from gainrl.admission.all import AdmitAll
from gainrl.training.advantages import Mismatch
from tests.training.rig import RuleReward, coin, logged, trained

OF_THE_REFERENCE = {"kl", "kl_loss"}


def every_second_group_is_solved(text, problem):
    return True if int(problem.id.split("-")[1]) % 2 else coin(text, problem)


def row(beta: float, **settings) -> dict[str, float]:
    module = trained(
        objective={"beta": beta, **settings.pop("objective", {})},
        reward=RuleReward(every_second_group_is_solved),
        prompts_per_step=8,
        minibatch_prompts=4,
        inner_epochs=3,
        lr=1.0,
        admission=AdmitAll(),
        mismatch=Mismatch(alarm=None, importance_cap=2.0),
        **settings,
    )
    assert 0 < logged(module)["frac_reward_zero_std"] < 1
    assert logged(module)["clip_ratio/region_mean"] > 0
    return logged(module)


@pytest.mark.parametrize(
    "objective",
    [
        {},
        {"clip": "cispo", "epsilon": 0.2, "epsilon_high": 0.2},
        {"ratio": "sequence"},
        {"aggregation": "constant"},
    ],
    ids=str,
)
def test_a_kl_of_no_weight_changes_no_metric(objective):
    """With beta 0 solved groups are left out of the update; with 1e-12 they go through it and weigh nothing."""
    without, with_all = row(0.0, objective=objective), row(1e-12, objective=objective)
    assert with_all.keys() - without.keys() == OF_THE_REFERENCE
    for name, value in without.items():
        assert with_all[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_the_sampled_entropy_is_that_of_all_completions_of_a_policy_of_noise():
    """Over 40 steps of 64 completions it meets the exact entropy, which knows no groups that a uniform draw favours."""
    names = ("entropy/sampled", "entropy/informative")
    rows = [logged(trained(lr=0.0, prompts_per_step=16, seed=seed, reward=RuleReward(coin))) for seed in range(10)]
    sampled, exact = (np.array([each[name] for each in rows]) for name in names)
    assert sampled.mean() == pytest.approx(exact.mean(), abs=4 * sampled.std(ddof=1) / math.sqrt(len(rows)) + 0.02)
