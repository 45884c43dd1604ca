"""The objective and the advantages against TRL's own code, in value, gradient and metrics.

TRL computes in float32, so agreement is to float32 rounding. Where TRL and gainrl differ on purpose, a test says so.
"""

from pathlib import Path

import pytest
import torch
import yaml

from gainrl.functional.advantages import AdvantageSettings, group_advantages, step_advantages
from gainrl.functional.aggregation import Normalizer
from gainrl.functional.objectives import Objective
from gainrl.functional.policy_loss import policy_objective, step_metrics

pytestmark = pytest.mark.oracle
pytest.importorskip(
    "trl", reason="TRL is not installed here; `make test-oracle` runs these tests in their own environment"
)

from tests.oracle.trl_trainers import MAX_TOKENS, make_trainer, trl_advantages, trl_loss  # noqa: E402

ALGORITHMS = Path(__file__).parents[2] / "conf" / "algorithm"
LENGTHS = [7, 1, 4, 2, 5, 7]
AGGREGATIONS = {
    "grpo": "sequence_mean",
    "bnpo": "token_mean",
    "dapo": "token_mean",
    "cispo": "token_mean",
    "dr_grpo": "constant",
}
CLIPS = {
    "symmetric": ({}, {}),
    "higher": ({"epsilon_high": 0.28}, {"epsilon_high": 0.28}),
    "two_sided": ({"delta": 1.5}, {"delta": 1.5}),
    # Dual clip and TRL's two-sided clip are one function where delta > 1 + epsilon_high.
    "dual": ({"delta": 1.5}, {"delta": 1.5}),
}
KLS = [
    {"beta": 0.0},
    {"beta": 0.3, "kl_ratio_corrected": False},
    {"beta": 0.3, "kl_ratio_corrected": True},
]


def example(seed=0, lengths=LENGTHS):
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths))
    old = -torch.rand(shape, generator=generator) * 3 - 0.1
    return {
        "logprobs": old + torch.randn(shape, generator=generator) * 0.5,
        "old": old,
        "reference": old + torch.randn(shape, generator=generator) * 0.5,
        "entropies": torch.rand(shape, generator=generator),
        "advantages": torch.randn(len(lengths), generator=generator),
        "mask": torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None],
    }


def ours(batch, objective, normalizer):
    return policy_objective(
        logprobs_BT=batch["logprobs"],
        old_logprobs_BT=batch["old"],
        reference_logprobs_BT=batch["reference"],
        entropies_BT=batch["entropies"],
        advantages_BT_or_B=batch["advantages"],
        mask_BT=batch["mask"],
        settings=objective,
        normalizer=normalizer,
    )


def compare(objective, trl_settings, seed=0, values=True):
    """Value and gradients of one batch that is the whole optimizer step; returns both sets of metrics."""
    batch = example(seed)
    leaves = [batch[name].requires_grad_() for name in ("logprobs", "entropies")]
    trainer = make_trainer(rows=len(LENGTHS), gradient_accumulation_steps=1, **trl_settings)
    loss, metrics = trl_loss(trainer, **batch)
    result = ours(batch, objective, Normalizer.of_step(batch["mask"], MAX_TOKENS))
    if values:
        torch.testing.assert_close(result.loss, loss, rtol=1e-5, atol=1e-6)
    theirs = torch.autograd.grad(loss, leaves, allow_unused=True)
    mine = torch.autograd.grad(result.loss, leaves, allow_unused=True)
    for own, other, leaf in zip(mine, theirs, leaves, strict=True):
        own = torch.zeros_like(leaf) if own is None else own
        other = torch.zeros_like(leaf) if other is None else other
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)
    return step_metrics(result.sums), metrics


def trl_kl(kl):
    return {"beta": kl["beta"], "use_bias_correction_kl": kl.get("kl_ratio_corrected", False)}


@pytest.mark.parametrize("ratio", ["token", "sequence"])
@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dapo", "dr_grpo"])
def test_clipped_objectives(loss_type, clip, ratio):
    knobs, trl_knobs = CLIPS[clip]
    for seed, kl in enumerate(KLS):
        objective = Objective(ratio=ratio, clip=clip, **knobs, **kl, aggregation=AGGREGATIONS[loss_type])
        settings = {"loss_type": loss_type, "importance_sampling_level": ratio, "epsilon": 0.2, **trl_knobs}
        mine, theirs = compare(objective, settings | trl_kl(kl), seed)
        assert mine["entropy/informative"] == pytest.approx(theirs["entropy"], rel=1e-5)
        if ratio == "token":  # TRL counts a sequence ratio once per completion, gainrl once per token.
            for name in ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean"):
                assert mine[name] == pytest.approx(theirs[name], abs=1e-6), name
        if kl["beta"] and not kl["kl_ratio_corrected"]:  # TRL logs the corrected estimate, gainrl the plain one.
            assert mine["kl"] == pytest.approx(theirs["kl"], rel=1e-4)


@pytest.mark.parametrize("ratio", ["token", "sequence"])
@pytest.mark.parametrize("kl", KLS)
def test_cispo_whose_cap_is_written_as_one_plus_epsilon_high_here_and_as_epsilon_high_there(ratio, kl):
    objective = Objective(ratio=ratio, clip="cispo", epsilon=None, epsilon_high=0.4, **kl)
    settings = {"loss_type": "cispo", "importance_sampling_level": ratio, "epsilon_high": 1.4}
    mine, theirs = compare(objective, settings | trl_kl(kl))
    if ratio == "token":
        assert mine["clip_ratio/high_mean"] == pytest.approx(theirs["cispo_clip_ratio"], abs=1e-6)


@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "dapo"])
def test_no_clip_is_a_clip_so_wide_that_it_never_acts(loss_type):
    objective = Objective(clip="none", epsilon=None, aggregation=AGGREGATIONS[loss_type], beta=0.1)
    settings = {"loss_type": loss_type, "epsilon": 1e6, "epsilon_high": 1e6, "beta": 0.1}
    compare(objective, settings | {"use_bias_correction_kl": False})


def test_the_sum_over_a_completion_is_that_of_luspo():
    objective = Objective(ratio="sequence", aggregation="sequence_sum", beta=0.1)
    settings = {"loss_type": "luspo", "importance_sampling_level": "sequence", "beta": 0.1, "epsilon": 0.2}
    compare(objective, settings | {"use_bias_correction_kl": False})


@pytest.mark.parametrize("loss_type", ["bnpo", "dapo", "cispo"])
def test_the_entropy_bonus_where_the_objective_is_a_token_mean(loss_type):
    # TRL averages the entropy over tokens whatever the loss, gainrl like the rest of the objective.
    clip = {"clip": "cispo", "epsilon": None, "epsilon_high": 0.4} if loss_type == "cispo" else {"epsilon": 0.2}
    settings = {"epsilon_high": 1.4} if loss_type == "cispo" else {"epsilon": 0.2}
    objective = Objective(entropy_coefficient=0.05, **clip)
    compare(objective, settings | {"loss_type": loss_type, "entropy_coef": 0.05, "beta": 0.0})


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo"])
def test_shares_of_micro_batches_add_up_to_the_accumulated_loss(loss_type):
    # Equal numbers of completions per micro-batch: what TRL's division by the accumulation count assumes.
    batch = example()
    trainer = make_trainer(rows=3, group_size=3, loss_type=loss_type, gradient_accumulation_steps=2, epsilon=0.2)
    normalizer = Normalizer.of_step(batch["mask"], MAX_TOKENS)
    objective = Objective(aggregation=AGGREGATIONS[loss_type])
    for rows in (slice(0, 3), slice(3, 6)):
        part = {name: value[rows] for name, value in batch.items()}
        loss, _ = trl_loss(trainer, **part, tokens_of_step=normalizer.tokens)
        torch.testing.assert_close(ours(part, objective, normalizer).loss, loss, rtol=1e-5, atol=1e-7)


def test_bnpo_of_two_micro_batches_is_where_the_two_part():
    batch = example()
    trainer = make_trainer(rows=3, group_size=3, loss_type="bnpo", gradient_accumulation_steps=2, epsilon=0.2)
    normalizer = Normalizer.of_step(batch["mask"], MAX_TOKENS)
    parts = [{name: value[rows] for name, value in batch.items()} for rows in (slice(0, 3), slice(3, 6))]
    theirs = sum(trl_loss(trainer, **part)[0] for part in parts)
    mine = sum(ours(part, Objective(), normalizer).loss for part in parts)
    whole = ours(batch, Objective(), normalizer).loss
    torch.testing.assert_close(mine, whole)
    assert abs(float(theirs - whole)) > 1e-3


PRESETS = {
    "grpo": {"loss_type": "grpo", "beta": 0.04, "epsilon": 0.2},
    "dr_grpo": {"loss_type": "dr_grpo", "epsilon": 0.2, "scale_rewards": "none"},
    "dapo": {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28},
    "bnpo": {"loss_type": "bnpo", "epsilon": 0.2},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4},
    "cispo": {"loss_type": "cispo", "epsilon_high": 5.0},
    "gainrl_trl": {"loss_type": "grpo", "beta": 0.005, "epsilon": 1e6, "epsilon_high": 1e6},
    "gainrl_verl": {"loss_type": "dapo", "beta": 0.001, "epsilon": 0.2, "delta": 3.0},
}


def preset(name):
    """Settings of the objective and of the advantages, on those of the preset that it names under ``defaults``."""
    content = yaml.safe_load((ALGORITHMS / f"{name}.yaml").read_text(encoding="utf-8"))
    bases = [other for other in content.get("defaults", ()) if other != "_self_"]
    found = preset(*bases) if bases else ({}, {})
    for settings, node in zip(found, ("objective", "advantage"), strict=True):
        settings |= {key: value for key, value in content.get(node, {}).items() if key != "_target_"}
    return found


@pytest.mark.parametrize("name", PRESETS)
def test_presets_with_a_counterpart_in_trl(name):
    objective, advantage = preset(name)
    compare(Objective(**objective), PRESETS[name] | {"use_bias_correction_kl": False})
    if advantage["eps"] == 1e-4:  # TRL's, which cannot be set; gainrl_verl has another one.
        check_advantages(AdvantageSettings(**advantage), PRESETS[name].get("scale_rewards", "group"))


REWARDS = torch.tensor([[1.0, 0.0, 0.5], [0.25, 0.75, 2.0]])


def check_advantages(settings, scale_rewards, rewards=REWARDS):
    trainer = make_trainer(rows=6, group_size=3, gradient_accumulation_steps=1, scale_rewards=scale_rewards)
    theirs = trl_advantages(trainer, rewards.reshape(-1), LENGTHS)
    mine = group_advantages(rewards, ~rewards.isnan(), settings).reshape(-1)
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages(scale):
    check_advantages(AdvantageSettings(scale=scale, ddof=1, eps=1e-4), scale)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages_of_groups_with_a_completion_that_could_not_be_judged(scale):
    rewards = torch.tensor([[1.0, float("nan"), 0.5], [0.25, 0.75, 2.0]])
    check_advantages(AdvantageSettings(scale=scale, ddof=1, eps=1e-4), scale, rewards)


def test_constant_groups_where_trl_gives_rounding_noise():
    rewards = torch.full((2, 7), 0.7)
    trainer = make_trainer(rows=14, group_size=7, gradient_accumulation_steps=1, scale_rewards="group")
    theirs = trl_advantages(trainer, rewards.reshape(-1), [3] * 14)
    assert 0 < float(theirs.abs().max()) < 1e-2
    assert not group_advantages(rewards, torch.ones(2, 7, dtype=torch.bool), AdvantageSettings()).any()


def test_rloo_advantages_with_the_kl_in_the_reward_and_the_gradient_on_policy():
    objective, advantage = preset("rloo")
    objective, advantage = Objective(**objective), AdvantageSettings(**advantage)
    trainer = make_trainer(rows=6, group_size=3, rloo=True, gradient_accumulation_steps=1, beta=objective.beta)
    batch = example()
    batch["old"] = batch["logprobs"].clone()
    theirs = trl_advantages(trainer, REWARDS.reshape(-1), LENGTHS, old=batch["old"], reference=batch["reference"])
    mine = step_advantages(
        rewards_PG=REWARDS,
        valid_PG=torch.ones_like(REWARDS, dtype=torch.bool),
        mask_BT=batch["mask"],
        settings=advantage,
        kl_BT=batch["old"] - batch["reference"],
        beta=objective.beta,
    )
    torch.testing.assert_close(mine[:, 0], theirs, rtol=1e-5, atol=1e-6)
    batch["advantages"] = theirs
    batch["logprobs"].requires_grad_()
    loss, _ = trl_loss(trainer, **batch)
    result = ours(batch, objective, Normalizer.of_step(batch["mask"], MAX_TOKENS))
    torch.testing.assert_close(
        torch.autograd.grad(result.loss, batch["logprobs"])[0], torch.autograd.grad(loss, batch["logprobs"])[0]
    )
