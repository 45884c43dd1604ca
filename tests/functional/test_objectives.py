"""The objective: every combination of its knobs against a loop-written one, hand numbers, invariances, identities."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gainrl.functional.aggregation import Normalizer, add_sums
from gainrl.functional.objectives import Objective
from gainrl.functional.policy_loss import policy_objective, step_metrics
from tests.functional.objective_reference import slow_objective

CLIPS = {
    "symmetric": {"epsilon": 0.2},
    "higher": {"epsilon": 0.2, "epsilon_high": 0.28},
    "two_sided": {"epsilon": 0.2, "delta": 1.5},
    "dual": {"epsilon": 0.2, "delta": 1.5},
    "cispo": {"epsilon": 0.3, "epsilon_high": 0.4},
    "none": {"epsilon": None},
}
KLS = [{"beta": 0.0}] + [
    {"beta": 0.3, "kl_estimator": estimator, "kl_placement": placement, "kl_ratio_corrected": corrected}
    for estimator in ("k1", "k2", "k3")
    for placement, corrected in (("loss", False), ("loss", True), ("reward", False))
]
AGGREGATIONS = ["sequence_mean", "token_mean", "constant", "sequence_sum"]
LENGTHS = [7, 1, 4, 0, 5, 7]


def example(seed=0, lengths=LENGTHS, width=7, dtype=torch.float64):
    """Log-probabilities with ratios on both sides of every bound, NaN wherever the mask is False."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), width)
    mask = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    old = -torch.rand(shape, generator=generator, dtype=dtype) * 3 - 0.1
    shift = torch.randn(shape, generator=generator, dtype=dtype) * 0.5
    reference = old + torch.randn(shape, generator=generator, dtype=dtype) * 0.5
    entropies = torch.rand(shape, generator=generator, dtype=dtype)
    nan = torch.full(shape, float("nan"), dtype=dtype)
    return {
        "logprobs_BT": torch.where(mask, old + shift, nan),
        "old_logprobs_BT": torch.where(mask, old, nan),
        "reference_logprobs_BT": torch.where(mask, reference, nan),
        "entropies_BT": torch.where(mask, entropies, nan),
        "advantages_BT_or_B": torch.randn(len(lengths), generator=generator, dtype=dtype),
        "mask_BT": mask,
    }


def loss_and_gradients(batch, objective, normalizer, rows=None):
    inputs = {k: (v if rows is None else v[rows]).detach().clone() for k, v in batch.items()}
    leaves = [inputs[name].requires_grad_() for name in ("logprobs_BT", "entropies_BT")]
    result = policy_objective(**inputs, settings=objective, normalizer=normalizer)
    gradients = torch.autograd.grad(result.loss, leaves, allow_unused=True)
    return result, [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, leaves, strict=True)]


def slow_loss_and_gradients(batch, objective, normalizer):
    mask = batch["mask_BT"]
    leaves = [torch.where(mask, batch[n], 0.0).requires_grad_() for n in ("logprobs_BT", "entropies_BT")]
    advantages = batch["advantages_BT_or_B"]
    loss = slow_objective(
        lp=leaves[0],
        lo=batch["old_logprobs_BT"],
        lr=batch["reference_logprobs_BT"],
        entropy=leaves[1],
        advantage=advantages[:, None].expand(mask.shape) if advantages.ndim == 1 else advantages,
        mask=mask.tolist(),
        o=objective,
        sequences=normalizer.sequences,
        tokens=normalizer.tokens,
        max_tokens=normalizer.max_tokens,
    )
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    return loss, [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, leaves, strict=True)]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_every_combination_of_knobs_equals_the_loop_written_objective_in_value_and_gradient(ratio, clip, aggregation):
    for index, (kl, entropy) in enumerate(itertools.product(KLS, (0.0, 0.01))):
        objective = Objective(
            ratio=ratio, clip=clip, **CLIPS[clip], aggregation=aggregation, **kl, entropy_coefficient=entropy
        )
        batch = example(seed=index)
        if index % 2:  # advantages per token
            batch["advantages_BT_or_B"] = batch["advantages_BT_or_B"][:, None] + torch.linspace(-1, 1, 7).double()
        normalizer = Normalizer.of_step(batch["mask_BT"], max_tokens=9)
        got, got_gradients = loss_and_gradients(batch, objective, normalizer)
        want, want_gradients = slow_loss_and_gradients(batch, objective, normalizer)
        torch.testing.assert_close(got.loss, want, rtol=1e-10, atol=1e-12, msg=lambda m, o=objective: f"{o}\n{m}")
        for mine, theirs in zip(got_gradients, want_gradients, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12, msg=lambda m, o=objective: f"{o}\n{m}")


def hand(ratios, advantage, **knobs):
    """Loss of one completion whose tokens have these ratios, aggregated by sum."""
    old = torch.full((1, len(ratios)), -1.0)
    return float(
        policy_objective(
            logprobs_BT=old + torch.tensor([ratios]).log(),
            old_logprobs_BT=old,
            advantages_BT_or_B=torch.tensor([advantage]),
            mask_BT=torch.ones(1, len(ratios), dtype=torch.bool),
            settings=Objective(aggregation="sequence_sum", **knobs),
            normalizer=Normalizer(sequences=1, tokens=len(ratios), max_tokens=8),
        ).loss
    )


@pytest.mark.parametrize(
    ("ratio", "advantage", "knobs", "loss"),
    [
        (1.5, 2.0, {"clip": "symmetric"}, -2.4),
        (1.5, -2.0, {"clip": "symmetric"}, 3.0),
        (0.5, 2.0, {"clip": "symmetric"}, -1.0),
        (0.5, -2.0, {"clip": "symmetric"}, 1.6),
        (1.25, 1.0, {"clip": "higher", "epsilon_high": 0.28}, -1.25),
        (1.5, 1.0, {"clip": "higher", "epsilon_high": 0.28}, -1.28),
        (9.0, -2.0, {"clip": "two_sided", "delta": 3.0}, 6.0),
        (9.0, 2.0, {"clip": "two_sided", "delta": 3.0}, -2.4),
        (9.0, -2.0, {"clip": "dual", "delta": 3.0}, 6.0),
        (9.0, 2.0, {"clip": "dual", "delta": 3.0}, -2.4),
        (9.0, -2.0, {"clip": "none", "epsilon": None}, 18.0),
    ],
)
def test_the_loss_of_one_token_by_hand(ratio, advantage, knobs, loss):
    assert hand([ratio], advantage, **knobs) == pytest.approx(loss, rel=1e-5)


def test_cispo_weighs_the_log_probability_by_a_ratio_capped_at_one_plus_epsilon_high():
    logprob = -1.0 + math.log(9.0)
    assert hand([9.0], 2.0, clip="cispo", epsilon=None, epsilon_high=4.0) == pytest.approx(
        -5.0 * 2.0 * logprob, rel=1e-5
    )


def test_the_sequence_ratio_is_the_geometric_mean_of_the_token_ratios():
    # The geometric mean of 2 and 8 is 4; two tokens of -4 each.
    assert hand([2.0, 8.0], 1.0, ratio="sequence", clip="none", epsilon=None) == pytest.approx(-8.0, rel=1e-5)


@pytest.mark.parametrize(
    ("aggregation", "loss"),
    [("sequence_mean", 0.0), ("token_mean", -90 / 130), ("constant", -90 / 800), ("sequence_sum", -90 / 4)],
)
def test_four_completions_of_unequal_length_by_hand(aggregation, loss):
    # Lengths 100, 10, 10, 10 and advantages +1, -1, -1, +1 at ratio 1.
    mask = torch.arange(100)[None] < torch.tensor([100, 10, 10, 10])[:, None]
    zeros = torch.zeros(4, 100)
    result = policy_objective(
        logprobs_BT=zeros,
        old_logprobs_BT=zeros,
        advantages_BT_or_B=torch.tensor([1.0, -1.0, -1.0, 1.0]),
        mask_BT=mask,
        settings=Objective(aggregation=aggregation),
        normalizer=Normalizer.of_step(mask, max_tokens=200),
    )
    assert result.loss.item() == pytest.approx(loss, abs=1e-6)


some_objective = st.builds(
    lambda ratio, clip, aggregation, kl, entropy: Objective(
        ratio=ratio, clip=clip, **CLIPS[clip], aggregation=aggregation, **kl, entropy_coefficient=entropy
    ),
    st.sampled_from(["token", "sequence"]),
    st.sampled_from(sorted(CLIPS)),
    st.sampled_from(AGGREGATIONS),
    st.sampled_from(KLS),
    st.sampled_from([0.0, 0.01]),
)


@settings(max_examples=60)
@given(some_objective, st.lists(st.integers(0, 5), min_size=5, max_size=5), st.randoms(use_true_random=False))
def test_any_split_into_micro_batches_adds_up_to_the_loss_gradient_and_metrics_of_one_batch(objective, owners, random):
    batch = example(lengths=[7, 1, 4, 0, 5])
    normalizer = Normalizer.of_step(batch["mask_BT"], max_tokens=9)
    whole, gradients = loss_and_gradients(batch, objective, normalizer)
    loss, summed, split_gradients = 0.0, {}, [torch.zeros_like(g) for g in gradients]
    groups = sorted(set(owners))
    random.shuffle(groups)
    for owner in groups:
        rows = torch.tensor([i for i, other in enumerate(owners) if other == owner])
        part, part_gradients = loss_and_gradients(batch, objective, normalizer, rows)
        loss = loss + part.loss
        summed = add_sums(summed, part.sums)
        for total, piece in zip(split_gradients, part_gradients, strict=True):
            total[rows] += piece
    torch.testing.assert_close(loss, whole.loss, rtol=1e-10, atol=1e-13)
    for mine, theirs in zip(split_gradients, gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-13)
    assert step_metrics(summed) == pytest.approx(step_metrics(whole.sums), rel=1e-9, abs=1e-12)


@settings(max_examples=40)
@given(some_objective, st.integers(0, 4), st.integers(0, 3), st.integers(0, 3))
def test_padding_on_either_side_and_masked_rows_change_nothing(objective, left, right, extra_rows):
    batch = example()
    normalizer = Normalizer.of_step(batch["mask_BT"], max_tokens=9)
    plain, gradients = loss_and_gradients(batch, objective, normalizer)

    def pad(tensor):
        filler = False if tensor.dtype == torch.bool else float("nan")
        if tensor.ndim == 1:
            return torch.cat([tensor, tensor.new_full((extra_rows,), filler)])
        return torch.nn.functional.pad(tensor, (left, right, 0, extra_rows), value=filler)

    padded_batch = {name: pad(value) for name, value in batch.items()}
    assert Normalizer.of_step(padded_batch["mask_BT"], max_tokens=9) == normalizer
    padded, padded_gradients = loss_and_gradients(padded_batch, objective, normalizer)
    torch.testing.assert_close(padded.loss, plain.loss, rtol=1e-12, atol=1e-14)
    assert step_metrics(padded.sums) == pytest.approx(step_metrics(plain.sums), rel=1e-9)
    for mine, theirs in zip(padded_gradients, gradients, strict=True):
        inner = mine[: theirs.shape[0], left : left + theirs.shape[1]]
        torch.testing.assert_close(inner, theirs, rtol=1e-12, atol=1e-14)
        assert float(mine.abs().sum()) == pytest.approx(float(inner.abs().sum()))


@settings(max_examples=30)
@given(some_objective, st.permutations(range(len(LENGTHS))))
def test_the_order_of_completions_does_not_matter(objective, order):
    batch = example()
    normalizer = Normalizer.of_step(batch["mask_BT"], max_tokens=9)
    straight, gradients = loss_and_gradients(batch, objective, normalizer)
    mixed, mixed_gradients = loss_and_gradients(batch, objective, normalizer, torch.tensor(order))
    torch.testing.assert_close(mixed.loss, straight.loss, rtol=1e-12, atol=1e-14)
    for mine, theirs in zip(mixed_gradients, gradients, strict=True):
        torch.testing.assert_close(mine, theirs[order], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_on_policy_the_ratio_is_exactly_one_and_the_gradient_is_that_of_reinforce(clip, dtype):
    batch = example(dtype=dtype)
    batch["old_logprobs_BT"] = batch["logprobs_BT"].clone()
    objective = Objective(clip=clip, **CLIPS[clip], aggregation="token_mean")
    normalizer = Normalizer.of_step(batch["mask_BT"], max_tokens=9)
    result, (gradient, _) = loss_and_gradients(batch, objective, normalizer)
    metrics = step_metrics(result.sums)
    assert (metrics["ratio/mean"], metrics["ratio/max"], metrics["clip_ratio/region_mean"]) == (1.0, 1.0, 0.0)
    expected = -batch["advantages_BT_or_B"][:, None] * batch["mask_BT"] / normalizer.tokens
    torch.testing.assert_close(gradient, expected)


def test_gradients_flow_through_the_current_policy_only():
    batch = example()
    leaves = {name: value.requires_grad_() for name, value in batch.items() if value.is_floating_point()}
    objective = Objective(beta=0.1, kl_ratio_corrected=True, entropy_coefficient=0.1)
    result = policy_objective(**batch, settings=objective, normalizer=Normalizer.of_step(batch["mask_BT"], 9))
    result.loss.backward()
    assert {name for name, leaf in leaves.items() if leaf.grad is not None} == {"logprobs_BT", "entropies_BT"}
    assert not any(value.requires_grad for value in result.sums.values())


@pytest.mark.parametrize("ratio", ["token", "sequence"])
@pytest.mark.parametrize("clip", CLIPS)
def test_zero_advantages_give_zero_gradients_whatever_the_ratio(clip, ratio):
    batch = example()
    batch["advantages_BT_or_B"] = torch.zeros(len(LENGTHS), dtype=torch.float64)
    normalizer = Normalizer.of_step(batch["mask_BT"], max_tokens=9)
    result, gradients = loss_and_gradients(batch, Objective(ratio=ratio, clip=clip, **CLIPS[clip]), normalizer)
    assert result.loss.item() == 0.0
    assert all(torch.equal(gradient, torch.zeros_like(gradient)) for gradient in gradients)


@settings(max_examples=30)
@given(some_objective)
def test_a_step_without_any_token_has_loss_and_gradient_zero(objective):
    batch = example(lengths=[0, 0])
    result, gradients = loss_and_gradients(batch, objective, Normalizer.of_step(batch["mask_BT"], max_tokens=9))
    assert result.loss.item() == 0.0
    assert all(torch.equal(gradient, torch.zeros_like(gradient)) for gradient in gradients)
    assert all(math.isfinite(value) for value in step_metrics(result.sums).values())


def test_a_batch_without_columns_is_a_step_without_tokens():
    batch = {name: value[:, :0] if value.ndim == 2 else value for name, value in example().items()}
    result, _ = loss_and_gradients(batch, Objective(), Normalizer(sequences=0, tokens=0, max_tokens=9))
    assert result.loss.item() == 0.0


def test_half_precision_log_probabilities_are_widened_before_any_arithmetic():
    batch = {k: v.bfloat16() if v.is_floating_point() else v for k, v in example(dtype=torch.float32).items()}
    normalizer = Normalizer.of_step(batch["mask_BT"], max_tokens=9)
    result, _ = loss_and_gradients(batch, Objective(beta=0.1), normalizer)
    widened = {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}
    exact, _ = loss_and_gradients(widened, Objective(beta=0.1), normalizer)
    assert result.loss.dtype == torch.float32
    assert result.loss.item() == pytest.approx(exact.loss.item(), rel=1e-5)


def test_metrics_count_clipped_tokens_by_side_and_average_over_tokens():
    old = torch.zeros(2, 2)
    ratios = torch.tensor([[1.5, 0.5], [1.5, 0.5]])
    result = policy_objective(
        logprobs_BT=ratios.log(),
        old_logprobs_BT=old,
        advantages_BT_or_B=torch.tensor([1.0, -1.0]),
        mask_BT=torch.tensor([[True, True], [True, False]]),
        settings=Objective(aggregation="token_mean"),
        normalizer=Normalizer(sequences=2, tokens=3, max_tokens=2),
        reference_logprobs_BT=old,
        entropies_BT=torch.full((2, 2), 0.25),
    )
    d = math.log(1.5), math.log(0.5), math.log(1.5)
    assert step_metrics(result.sums) == pytest.approx(
        {
            "policy_loss": (-1.2 - 0.5 + 1.5) / 3,
            "clip_ratio/low_mean": 0.0,
            "clip_ratio/high_mean": 1 / 3,
            "clip_ratio/region_mean": 1 / 3,
            "ratio/mean": 3.5 / 3,
            "ratio/max": 1.5,
            "kl": sum(math.exp(-x) - 1 + x for x in d) / 3,
            "entropy/informative": 0.25,
        },
        rel=1e-5,
    )


def test_completions_without_an_advantage_count_in_shares_of_all_tokens_and_nowhere_else():
    """Two of five tokens have an advantage; the others are in the call or not, as the settings of a KL decide."""
    ratios = torch.tensor([[1.5, 0.5], [3.0, 3.0], [3.0, 9.0]])
    given = {
        "logprobs_BT": ratios.log(),
        "old_logprobs_BT": torch.zeros(3, 2),
        "advantages_BT_or_B": torch.tensor([1.0, 0.0, 0.0]),
        "mask_BT": torch.tensor([[True, True], [True, True], [True, False]]),
        "entropies_BT": torch.tensor([[0.2, 0.4], [9.0, 9.0], [9.0, 9.0]]),
    }
    shared = {"settings": Objective(), "normalizer": Normalizer(sequences=3, tokens=5, max_tokens=2)}
    whole = step_metrics(policy_objective(**given, **shared).sums)
    lean = step_metrics(policy_objective(**{name: value[:1] for name, value in given.items()}, **shared).sums, tokens=5)
    assert lean == pytest.approx(whole)
    assert whole["clip_ratio/high_mean"] == pytest.approx(1 / 5)
    assert whole["ratio/mean"] == pytest.approx((1.5 + 0.5) / 2)
    assert whole["ratio/max"] == pytest.approx(1.5)
    assert whole["entropy/informative"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("clip", "ratio", "advantage", "low", "high"),
    [
        ("symmetric", 0.5, -1.0, 1, 0),
        ("symmetric", 0.5, 1.0, 0, 0),
        ("symmetric", 1.5, 1.0, 0, 1),
        ("symmetric", 1.5, -1.0, 0, 0),
        ("cispo", 0.5, -1.0, 1, 0),
        ("cispo", 0.5, 1.0, 1, 0),
        ("cispo", 1.5, 1.0, 0, 1),
        ("cispo", 1.5, -1.0, 0, 0),
        ("none", 9.0, 1.0, 0, 0),
    ],
)
def test_clipped_tokens_are_counted_by_side_and_sign_of_the_advantage(clip, ratio, advantage, low, high):
    one = torch.ones(1, 1)
    sums = policy_objective(
        logprobs_BT=one * math.log(ratio),
        old_logprobs_BT=0 * one,
        advantages_BT_or_B=one * advantage,
        mask_BT=one,
        settings=Objective(clip=clip, **CLIPS[clip]),
        normalizer=Normalizer(1, 1, 1),
    ).sums
    counted = [int(sums[f"clip_ratio/{side}"]) for side in ("low", "high", "region")]
    assert counted == [low, high, low + high]


def test_a_kl_in_the_reward_is_measured_but_leaves_the_loss_alone():
    batch = example()
    normalizer = Normalizer.of_step(batch["mask_BT"], max_tokens=9)
    without, _ = loss_and_gradients(batch, Objective(beta=0.0), normalizer)
    inside, _ = loss_and_gradients(batch, Objective(beta=0.5, kl_placement="reward"), normalizer)
    assert torch.equal(without.loss, inside.loss)
    assert step_metrics(inside.sums)["kl"] > 0


@pytest.mark.parametrize(("beta", "placement"), [(0.0, "loss"), (0.0, "reward"), (0.1, "loss"), (0.1, "reward")])
def test_a_reference_policy_is_needed_where_the_kl_has_a_weight(beta, placement):
    assert Objective(beta=beta, kl_placement=placement).needs_reference is (beta > 0)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"ratio": "word"}, "use one of token, sequence"),
        ({"clip": "soft"}, "use one of symmetric, higher"),
        ({"aggregation": "mean"}, "use one of sequence_mean"),
        ({"kl_estimator": "k4"}, "use one of k1, k2, k3"),
        ({"kl_placement": "nowhere"}, "use one of loss, reward"),
        ({"beta": -0.1}, "0 switches it off"),
        ({"entropy_coefficient": float("nan")}, "0 switches it off"),
        ({"epsilon": 1.0}, "between 0 and 1"),
        ({"epsilon": None}, "needs objective.epsilon"),
        ({"clip": "higher"}, "needs objective.epsilon_high"),
        ({"clip": "cispo"}, "needs objective.epsilon_high"),
        ({"clip": "two_sided", "delta": 1.1}, "> 1.2"),
        ({"clip": "dual"}, "objective.delta=None"),
        ({"epsilon_high": 0.0}, "> 0"),
    ],
)
def test_settings_out_of_range_are_refused_with_what_to_type_instead(knobs, message):
    with pytest.raises(ValueError, match=message):
        Objective(**knobs)


@pytest.mark.parametrize(
    ("knobs", "dropped", "message"),
    [
        ({"beta": 0.1}, "reference_logprobs_BT", "reference policy"),
        ({"entropy_coefficient": 0.1}, "entropies_BT", "token entropies"),
    ],
)
def test_an_input_that_the_settings_need_is_asked_for(knobs, dropped, message):
    batch = {name: value for name, value in example().items() if name != dropped}
    with pytest.raises(ValueError, match=message):
        policy_objective(**batch, settings=Objective(**knobs), normalizer=Normalizer(1, 1, 1))


def test_shapes_that_differ_are_refused():
    batch = example()
    batch["old_logprobs_BT"] = batch["old_logprobs_BT"][:, 1:]
    with pytest.raises(ValueError, match="must agree"):
        policy_objective(**batch, settings=Objective(), normalizer=Normalizer(1, 1, 1))
