"""One training step, with real rollouts of a very small model unless a test writes the completions itself."""

from functools import partial

import numpy as np
import pytest
import torch

import gainrl.training.learner as learner
import gainrl.training.scorer as scorer
from gainrl.admission.refill import AdmitRefill
from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.policy_loss import policy_objective
from gainrl.training.concentration_settings import Concentration
from gainrl.training.schedules import warmup_then_constant
from gainrl.types import Judgement, SamplingParams, Verdict
from tests.training.rig import (
    FollowSignal,
    RecordingEngine,
    RuleReward,
    ScriptedEngine,
    coin,
    data_of,
    fit,
    largest_difference,
    logged,
    module_of,
    refresh_of,
    tiny_policy,
    trained,
    weights,
)


@pytest.fixture
def calls(monkeypatch):
    """What the objective was given and what it returned, in the order of its calls."""
    seen = []

    def watched(**given):
        result = policy_objective(**given)
        seen.append((given, result))
        return result

    monkeypatch.setattr(learner, "policy_objective", watched)
    return seen


# ------------------------------------------------------------------------------------------------ ratio


@pytest.mark.parametrize("tokens", [None, "prompt", "prompt_and_completion"])
@pytest.mark.parametrize("inner_epochs", [1, 2])
def test_in_the_first_inner_epoch_every_ratio_is_exactly_1_and_nothing_is_clipped(inner_epochs, tokens, calls):
    policy = tiny_policy()
    trained(
        policy=policy,
        inner_epochs=inner_epochs,
        micro_batch_size=5,
        objective={"epsilon": 1e-6},
        concentration=Concentration(with_completions=tokens == "prompt_and_completion") if tokens else None,
    )
    first = calls[: len(calls) // inner_epochs]
    assert sum(float(result.sums["tokens"]) for _, result in first) > 20
    for given, result in first:
        assert torch.equal(given["logprobs_BT"], given["old_logprobs_BT"])
        assert result.sums["ratio/sum"] == result.sums["tokens"]
        assert result.sums["ratio/max"] == 1
        assert result.sums["clip_ratio/region"] == 0
    moved = [result for given, result in calls[len(first) :]]
    assert all(result.sums["ratio/max"] != 1 for result in moved)
    assert len(moved) == len(first) * (inner_epochs - 1)


@pytest.mark.parametrize("with_completions", [False, True])
def test_a_step_without_an_update_has_the_concentration_that_its_update_would_have_shown(with_completions, tmp_path):
    curriculum = FollowSignal()
    module = module_of(concentration=Concentration(with_completions=with_completions), lr=0.0, micro_batch_size=5)
    fit(module, data_of(module, curriculum=curriculum), [refresh_of(tmp_path, np.arange(16.0))])
    (shown,) = curriculum.shown
    measured = module.learner.watch.measure(module.experience, module.learner.scorer)
    assert shown
    assert len(measured) == 4
    assert shown == pytest.approx({row: measured[row] for row in shown}, abs=1e-6)


def test_later_minibatches_of_a_step_are_compared_with_the_policy_that_sampled(calls):
    module = trained(minibatch_prompts=2)
    first, second = (given for given, _ in calls)
    assert torch.equal(first["logprobs_BT"], first["old_logprobs_BT"])
    assert not torch.equal(second["logprobs_BT"], second["old_logprobs_BT"])
    assert module.counters.updates == 2


def test_what_the_engine_reports_and_what_training_computes_are_the_same_probabilities():
    sampling = SamplingParams(group_size=4, max_new_tokens=6, temperature=0.7)
    module = trained(engine=RecordingEngine(), sampling=sampling, lr=0.0)
    (rollout,) = module.engine.rollouts
    with torch.no_grad():
        computed = module.learner.scorer.logprobs(module.policy, module.experience, torch.arange(16))
    torch.testing.assert_close(computed, rollout.sampling_logprobs, atol=1e-5, rtol=1e-5)


# ------------------------------------------------------------------------------------- micro-batches


OBJECTIVES = {
    "token_mean": {},
    "sequence_mean_with_kl": {"aggregation": "sequence_mean", "beta": 0.1},
    "constant_with_entropy": {"aggregation": "constant", "entropy_coefficient": 0.01},
}


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_the_update_is_the_same_for_any_micro_batch(objective):
    def after(**limits):
        module = trained(objective=objective, inner_epochs=2, minibatch_prompts=2, **limits)
        return weights(module), logged(module)

    whole, row = after()
    assert largest_difference(whole, weights(module_of())) > 1e-3  # something was learnt at all
    for limits in ({"micro_batch_size": 1}, {"micro_batch_size": 3}, {"micro_batch_tokens": 60}):
        split, split_row = after(**limits)
        assert largest_difference(whole, split) < 1e-6
        for name in ("policy_loss", "entropy/informative", "grad_norm", "clip_ratio/region_mean", "ratio/mean"):
            assert split_row[name] == pytest.approx(row[name], abs=1e-6)
    same, _ = after(micro_batch_size=1000)
    assert largest_difference(whole, same) == 0


def test_completions_without_an_advantage_add_an_exact_zero(monkeypatch):
    """Prompts whose completions are all right are left out of the update; putting them in changes nothing."""

    def rule(text, problem):
        return True if int(problem.id.split("-")[1]) % 2 else coin(text, problem)

    lean = trained(reward=RuleReward(rule), prompts_per_step=8)
    assert 0 < logged(lean)["frac_reward_zero_std"] < 1
    monkeypatch.setattr(
        "gainrl.training.batching.trainable_rows",
        lambda advantages, mask, objective: mask.any(dim=1).nonzero().squeeze(1),
    )
    full = trained(reward=RuleReward(rule), prompts_per_step=8)
    assert largest_difference(weights(lean), weights(full)) < 1e-7
    assert logged(lean)["policy_loss"] == pytest.approx(logged(full)["policy_loss"], abs=1e-7)


@pytest.mark.parametrize("verdict", [True, False])
def test_a_step_in_which_nothing_can_be_learnt_moves_no_weight(verdict):
    module = module_of(
        reward=RuleReward(lambda text, problem: verdict), optimizer=partial(torch.optim.AdamW, lr=0.1, weight_decay=0.1)
    )
    before = weights(module)
    fit(module, data_of(module, steps=2))
    assert largest_difference(before, weights(module)) == 0
    assert (module.counters.updates, module.counters.skipped_updates) == (0, 2)
    assert logged(module)["frac_reward_zero_std"] == 1


def test_inner_epochs_and_minibatches_multiply_to_optimizer_steps():
    module = module_of(
        minibatch_prompts=1, inner_epochs=3, schedule=partial(warmup_then_constant, warmup_updates=99), lr=0.1
    )
    trainer = fit(module, data_of(module, steps=2))
    counters = module.counters
    assert counters.step == 2
    assert counters.updates + counters.skipped_updates == 2 * 4 * 3
    assert trainer.global_step == counters.updates
    assert logged(module)["learning_rate"] == pytest.approx(0.1 * 25 / 100)
    assert (counters.prompts, counters.rollouts) == (8, 32)


def test_gradients_are_clipped_to_the_largest_norm_and_reported_as_they_were():
    free, bound = module_of(lr=1.0, max_grad_norm=1e9), module_of(lr=1.0, max_grad_norm=1e-3)
    start = [parameter.detach().clone() for parameter in bound.model.parameters()]
    for module in (free, bound):
        fit(module, data_of(module))
    moved = [now.detach() - before for now, before in zip(bound.model.parameters(), start, strict=True)]
    assert logged(free)["grad_norm"] == pytest.approx(logged(bound)["grad_norm"])
    assert logged(bound)["grad_norm"] > 1e-3
    assert float(torch.cat([change.flatten() for change in moved]).norm()) == pytest.approx(1e-3, rel=1e-3)


# ----------------------------------------------------------------------------- tokens in, tokens out


def test_the_tokens_that_train_are_the_tokens_that_were_generated(calls):
    """Also where the text could be read as other tokens: ``Work`` is one piece here, and four when written singly."""
    engine = RecordingEngine()
    module = trained(engine=engine)
    (rollout,) = engine.rollouts
    assert torch.equal(module.experience.completion_ids, rollout.completion_ids)
    assert torch.equal(module.experience.lengths, rollout.lengths)
    stop = module.policy.stop_ids[0]
    for row, length, reason in zip(rollout.completion_ids, rollout.lengths, rollout.finish_reasons, strict=True):
        assert (int(row[length - 1]) == stop) == (reason == "stop")  # the stop token trains as well
    texts = module.policy.tokenizer.batch_decode(
        [row[:n] for row, n in zip(rollout.completion_ids, rollout.lengths.tolist(), strict=True)],
        skip_special_tokens=True,
    )
    assert module.experience.texts == texts == [text for text, _ in module.reward.asked]


def test_the_scoring_forward_sees_generated_ids_and_never_text(monkeypatch):
    scored = []
    original = scorer.completion_scores

    def watched(policy, prompts, ids, lengths, group_size, **options):
        scored.append(ids.clone())
        return original(policy, prompts, ids, lengths, group_size, **options)

    monkeypatch.setattr(scorer, "completion_scores", watched)
    engine = RecordingEngine()
    module = module_of(engine=engine, inner_epochs=2)
    monkeypatch.setattr(
        type(module.policy.tokenizer), "encode", lambda *a, **k: pytest.fail("a completion was tokenised again")
    )
    fit(module, data_of(module))
    assert len(scored) == 2  # once in each inner epoch, of which the first is made by the sampling policy
    assert all(torch.equal(ids, engine.rollouts[0].completion_ids) for ids in scored)


# --------------------------------------------------------------------------------------- admission


def test_refills_top_a_step_up_with_mixed_groups_and_everything_is_reported(tmp_path):
    def rule(text, problem):  # every second problem is always solved, so its groups are rejected
        return True if int(problem.id.split("-")[1]) % 2 else coin(text, problem)

    curriculum = FollowSignal()
    module = module_of(reward=RuleReward(rule), admission=AdmitRefill(max_rounds=2))
    data = data_of(module, curriculum=curriculum)
    fit(module, data, [refresh_of(tmp_path, -np.arange(16.0))])
    groups = module.experience.groups
    rows = [group.row for group in groups]
    assert rows[:4] == [0, 1, 2, 3]
    assert len(rows) == len(set(rows)) > 4
    assert [row for round_ in curriculum.seen for row in round_] == rows  # rejected groups are observed as well
    assert len(curriculum.seen) > 1  # the first round left the step incomplete
    assert [exclude for _, exclude in curriculum.asked][:2] == [[], rows[:4]]
    assert data.pool.history.visits[rows].tolist() == [1] * len(rows)
    trained_rows = {i for i, value in enumerate(np.abs(module.advantages_B).reshape(-1, 4).sum(axis=1)) if value > 0}
    assert trained_rows <= {i for i, group in enumerate(groups) if group.mixed}
    assert len(trained_rows) <= 4
    assert module.counters.rollouts == 4 * len(rows)
    assert logged(module)["admission/rollouts"] == 4 * len(rows)
    assert logged(module)["admission/wasted_rollouts"] == 4 * (len(rows) - len(trained_rows))


# -------------------------------------------------------------- truncated completions, lost verdicts


TEXTS = ("12<end>", "13<end>", "14<end>", "15")  # the last one is cut
RIGHT = {"12", "14"}


def scripted(truncated, **settings):
    return trained(
        engine=ScriptedEngine(*TEXTS),
        reward=RuleReward(lambda text, problem: text in RIGHT),
        advantage=AdvantageSettings(scale="none"),
        truncated=truncated,
        **settings,
    )


@pytest.mark.parametrize(
    ("truncated", "expected", "tokens"),
    [
        ("keep", [1 / 2, -1 / 2, 1 / 2, -1 / 2], 11),  # mean 1/2 of four; 3 tokens each, 2 of the one that was cut
        ("mask", [1 / 2, -1 / 2, 1 / 2, 0], 9),  # counts in the mean, does not train
        ("exclude", [1 / 3, -2 / 3, 1 / 3, 0], 9),  # mean 2/3 of three
    ],
)
def test_truncated_completions_train_are_masked_or_leave_their_group(truncated, expected, tokens, calls):
    module = scripted(truncated)
    assert module.advantages_B[:4] == pytest.approx(expected)
    assert calls[0][0]["normalizer"].tokens == 4 * tokens
    assert logged(module)["completions/clipped_ratio"] == 0.25


@pytest.mark.parametrize("truncated", ["keep", "mask", "exclude"])
def test_what_a_truncated_completion_trains_does_not_change_what_it_showed(truncated):
    """Of one correct and three cut and wrong completions the pass rate is 1/4, whatever the rule."""
    module = trained(
        engine=ScriptedEngine("12<end>", "13", "14", "15"),
        reward=RuleReward(lambda text, problem: text == "12"),
        truncated=truncated,
    )
    group = module.experience.groups[0]
    assert (group.pass_rate, group.mixed) == (0.25, True)
    assert logged(module)["accuracy"] == 0.25
    assert logged(module)["reward"] == 0.25
    history = data_of(module).pool.history if module._trainer is None else module.trainer.datamodule.pool.history
    assert history.run_solved.sum() == 0


def test_with_the_kl_in_the_reward_a_masked_completion_is_compared_at_its_own_cost():
    """Three completions cost beta K, the one that is cut beta C: against their mean the three get beta (C - K) / 4."""
    module = module_of(
        engine=ScriptedEngine("12<end>", "12<end>", "12<end>", "12"),
        reward=RuleReward(lambda text, problem: False),
        advantage=AdvantageSettings(scale="none"),
        objective={"beta": 0.5, "kl_placement": "reward", "kl_estimator": "k1"},
        truncated="mask",
        lr=0.0,
    )
    module.reference.keep()
    with torch.no_grad():
        for parameter in module.model.parameters():  # away from the reference
            parameter.mul_(1.5)
    fit(module, data_of(module))
    scorer, rows = module.learner.scorer, torch.arange(4)
    with torch.no_grad():
        policy = scorer.logprobs(module.policy, module.experience, rows)
        with module.reference.active() as reference:
            costs = policy - scorer.logprobs(reference, module.experience, rows)
    whole, cut = float(costs[0, :3].sum()), float(costs[3, :2].sum())
    assert abs(whole) > 0.01
    assert abs(cut) > 0.01
    assert module.advantages_B[:3] == pytest.approx([0.5 * (cut - whole) / 4] * 3, abs=1e-5)
    assert module.advantages_B[3] == 0


def test_completions_that_could_not_be_judged_leave_their_group():
    class Broken:
        def score(self, completions, problems):
            return [
                Verdict(Judgement.ERROR, 0.0) if text == "13" else Verdict(Judgement.CORRECT, float(text in RIGHT))
                for text in completions
            ]

    module = trained(engine=ScriptedEngine(*TEXTS), reward=Broken(), advantage=AdvantageSettings(scale="none"))
    assert module.advantages_B[:4] == pytest.approx([1 / 3, 0, 1 / 3, -2 / 3])
    assert logged(module)["excluded_completions"] == 4
    assert logged(module)["verdicts/error"] == 0.25


def test_long_completions_pay_in_the_last_part_of_the_limit():
    # Limit 6, buffer 3: free up to 3 tokens, 1/3 for each further one.
    module = trained(
        engine=ScriptedEngine("1<end>", "123<end>", "1234<end>", "123456"),
        reward=RuleReward(lambda text, problem: True),
        overlong={"buffer_fraction": 0.5},
    )
    assert module.experience.groups[0].rewards == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert module.experience.groups[0].correct.all()  # the verdict is not shaped


# ----------------------------------------------------------------------------------------- reference


def test_the_kl_to_the_reference_begins_at_zero_and_grows():
    first, third = (logged(trained(objective={"beta": 0.1}, steps=steps, lr=0.5)) for steps in (1, 3))
    assert first["kl"] == pytest.approx(0, abs=1e-9)
    assert third["kl"] > 1e-6
    assert "kl" not in logged(trained())


def test_a_kl_in_the_loss_pulls_towards_the_reference():
    def kl_after(beta):
        module = module_of(objective={"beta": beta}, reward=RuleReward(lambda t, p: False), lr=0.3)
        module.reference.keep()
        for parameter in module.reference._model.parameters():
            parameter.add_(0.1 * torch.ones_like(parameter))
        fit(module, data_of(module, steps=6))
        return logged(module)["kl"]

    assert kl_after(5.0) < 0.8 * kl_after(1e-9)


def test_a_kl_in_the_reward_costs_what_it_sums_to():
    module = module_of(
        objective={"beta": 0.5, "kl_placement": "reward", "kl_estimator": "k1"},
        advantage=AdvantageSettings(scale="none"),
        lr=0.0,
    )
    module.reference.keep()
    with torch.no_grad():
        for parameter in module.reference._model.parameters():
            parameter.mul_(1.2)
    fit(module, data_of(module))
    experience = module.experience
    rows = torch.arange(16)
    with torch.no_grad(), module.reference.active() as reference:
        gap = module.learner.scorer.logprobs(module.policy, experience, rows) - module.learner.scorer.logprobs(
            reference, experience, rows
        )
    for index, group in enumerate(experience.groups):
        penalised = [group.rewards[g] - 0.5 * float(gap[index * 4 + g].sum()) for g in range(4)]
        expected = [value - sum(penalised) / 4 for value in penalised]
        assert module.advantages_B[index * 4 : index * 4 + 4] == pytest.approx(expected, abs=1e-5)


def test_the_reference_moves_on_its_period_by_its_share():
    module = module_of(objective={"beta": 0.01}, reference_sync={"every": 2, "mixing": 0.25})
    start = weights(module)
    fit(module, data_of(module, steps=1))
    assert largest_difference(start, module.reference.state_dict()) == 0
    fit(module, data_of(module, steps=2))  # its second step
    expected = {name: 0.75 * start[name] + 0.25 * value for name, value in weights(module).items()}
    assert largest_difference(expected, module.reference.state_dict()) < 1e-6
    assert largest_difference(start, module.reference.state_dict()) > 1e-5


def test_without_a_kl_there_is_no_second_model():
    assert module_of().reference is None


# ------------------------------------------------------------------------------------------- the rest


def test_the_last_epoch_ends_where_the_run_does():
    assert trained(steps=5, epoch=3).counters.step == 5


def test_rollouts_leave_the_model_in_train_mode():
    assert trained().model.training


def test_the_curriculum_is_shown_the_concentration_of_the_prompts_that_the_update_ran(tmp_path):
    curriculum = FollowSignal()
    module = module_of(concentration=Concentration())
    fit(module, data_of(module, curriculum=curriculum), [refresh_of(tmp_path, np.arange(16.0))])
    (shown,) = curriculum.shown
    assert shown
    assert set(shown) == {group.row for group in module.experience.groups if group.mixed}
    assert logged(module)["concentration"] == pytest.approx(np.mean(list(shown.values())))


def test_counters_and_seconds_travel_in_the_checkpoint_as_plain_values():
    module, other = trained(steps=2), module_of()
    checkpoint = {}
    module.on_save_checkpoint(checkpoint)
    other.on_load_checkpoint(checkpoint)
    assert other.counters == module.counters
    assert other.clock.seconds == module.clock.seconds
    assert other.clock.tokens == module.clock.tokens
    assert {type(value) for value in checkpoint["counters"].values()} == {int}
