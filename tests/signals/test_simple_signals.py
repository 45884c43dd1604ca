"""Signals that need no forward pass, or one of their own."""

import inspect
import math
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from gainrl.functional.association import matched_percentile
from gainrl.signals.angle import AngleSignal
from gainrl.signals.answer_nll import AnswerNLLSignal
from gainrl.signals.grad_norm import GradNormSignal
from gainrl.signals.label import LabelSignal
from gainrl.signals.length import LengthSignal
from gainrl.signals.matched import MatchedSignal
from gainrl.signals.pass_rate import PassRateSignal
from gainrl.signals.protocol import Signal
from gainrl.signals.published import PublishedSignal
from gainrl.signals.random import RandomSignal
from gainrl.signals.residual import ResidualSignal
from gainrl.types import FinishReason, Judgement, Problem, Rollout, Verdict

CONF = Path(__file__).parents[2] / "conf" / "signal"


def test_length_counts_the_tokens_of_the_question_only(problems, prompts):
    assert LengthSignal().compute(problems, prompts).tolist() == [2, 7, 12, 4, 9, 14, 6, 11, 3]


def test_random_numbers_belong_to_pool_rows(problems, prompts):
    whole = RandomSignal(seed=3).compute(problems, prompts)
    part = RandomSignal(seed=3).compute(problems[4:6], prompts[4:6], rows=np.array([4, 5]))
    assert np.array_equal(part, whole[4:6])
    assert not np.array_equal(RandomSignal(seed=4).compute(problems, prompts), whole)
    assert len(np.unique(whole)) == 9


def test_label_is_the_difficulty_and_else_the_level(prompts):
    def problem(**known):
        return Problem(id="x", question="", reference_answer="", **known)

    both = [problem(level=2, difficulty=7.5), problem(level=1)]
    np.testing.assert_array_equal(LabelSignal().compute(both, prompts), [7.5, np.nan])
    np.testing.assert_array_equal(LabelSignal().compute([problem(level=2), problem()], prompts), [2, np.nan])
    with pytest.raises(ValueError, match="signal=length"):
        LabelSignal().compute([problem()], prompts)


def test_residual_takes_question_length_out_of_the_ranks(policy, problems, prompts):
    signal = ResidualSignal(base=LengthSignal())
    np.testing.assert_allclose(signal.compute(problems, prompts), 0.0, atol=1e-12)
    lengths = LengthSignal().compute(problems, prompts)
    residual = ResidualSignal(base=AngleSignal()).compute(problems, prompts, policy)
    assert abs(np.corrcoef(residual, np.argsort(np.argsort(lengths)))[0, 1]) < 1e-12
    assert signal.learn_first == "low"
    assert signal.name == "residual_length"


def test_matched_compares_prompts_that_are_alike_in_other_signals_and_never_in_itself(policy, problems, prompts):
    angle, length = AngleSignal(), LengthSignal()
    signal = MatchedSignal(base=angle, by={"length": length, "angle": angle}, strata=2)
    assert signal.bases == (angle, length)
    assert (signal.name, signal.cost, signal.learn_first) == ("matched_angle", "prefill", "high")
    values = [one.compute(problems, prompts, policy) for one in (angle, length)]
    found = signal.compute(problems, prompts, policy)
    np.testing.assert_array_equal(found, matched_percentile(values[0], values[1:], 2))
    assert MatchedSignal(base=length, by={"rate": PassRateSignal()}).cost == "rollouts"
    with pytest.raises(ValueError, match=r"signal\.strata=5"):
        MatchedSignal(base=angle, by={}, strata=0)


def write_order(tmp_path, order, name="order.pt"):
    torch.save(torch.tensor(order), tmp_path / name)
    return str(tmp_path / name)


def test_published_values_are_positions_in_the_order(tmp_path, prompts):
    def problem(**extra):
        return Problem(id="x", question="", reference_answer="", extra=extra)

    problems = [problem(row=0), problem(row=3), problem(rows=[2, 1]), problem(row=None), problem(rows=[])]
    values = PublishedSignal(order=write_order(tmp_path, [3, 1, 0, 2])).compute(problems, prompts)
    np.testing.assert_array_equal(values, [2, 0, 1, np.nan, np.nan])


def test_published_orders_that_cannot_apply_are_refused(tmp_path, problems, prompts):
    with pytest.raises(ValueError, match="no order file"):
        PublishedSignal(order=str(tmp_path / "none.pt")).compute(problems, prompts)
    with pytest.raises(ValueError, match="not a permutation"):
        PublishedSignal(order=write_order(tmp_path, [0, 0, 1])).compute(problems, prompts)
    nameless = [Problem(id="x", question="", reference_answer="")]
    with pytest.raises(ValueError, match="which row"):
        PublishedSignal(order=write_order(tmp_path, [0, 1])).compute(nameless, prompts)


def test_the_fingerprint_of_a_published_order_follows_its_content(tmp_path):
    signal = PublishedSignal(order=write_order(tmp_path, [0, 1, 2]))
    before = signal.fingerprint()
    assert PublishedSignal(order=write_order(tmp_path, [0, 1, 2], "copy.pt")).fingerprint() == before
    write_order(tmp_path, [2, 1, 0])
    assert signal.fingerprint() != before


class TwoOfThree:
    """An engine whose completions start with their place in the group, and a judge that fails place 3."""

    def generate(self, policy, prompts, sampling, keys):
        self.keys = [*getattr(self, "keys", []), *keys.tolist()]
        places = torch.arange(sampling.group_size).repeat(len(prompts))
        ids = torch.stack([places, torch.ones_like(places)], 1)
        lengths = torch.full((len(ids),), 2)
        return Rollout(prompts, sampling.group_size, ids, lengths, [FinishReason.STOP] * len(ids))

    def score(self, completions, problems):
        kinds = {"0": Judgement.CORRECT, "1": Judgement.CORRECT, "2": Judgement.UNPARSABLE, "3": Judgement.ERROR}
        self.owners = [problem.id for problem in problems]
        return [Verdict(kinds[text[0]], 0.0) for text in completions]


def test_pass_rate_is_the_share_of_correct_among_judged_completions(policy, problems, prompts):
    double = TwoOfThree()
    signal = PassRateSignal(samples=4, max_new_tokens=2, prompts_per_batch=4)
    values = signal.compute(problems, prompts, policy, engine=double, reward=double)
    np.testing.assert_allclose(values, 2 / 3)
    assert double.owners == ["p8"] * 4
    part = TwoOfThree()
    signal.compute(problems[3:5], prompts[3:5], policy, engine=part, reward=part, rows=np.array([3, 4]))
    assert part.keys == double.keys[3:5]


def test_a_prompt_measured_again_at_another_step_gets_fresh_draws(policy, problems, prompts):
    signal, keys = PassRateSignal(samples=4, max_new_tokens=2), []
    for step in (0, 4, 4):
        double = TwoOfThree()
        signal.compute(problems, prompts, policy, engine=double, reward=double, step=step)
        keys.append(double.keys)
    assert keys[1] == keys[2]
    assert not set(keys[0]) & set(keys[1])


def test_pass_rate_without_an_engine_says_what_to_select(policy, problems, prompts):
    with pytest.raises(ValueError, match="rollout="):
        PassRateSignal().compute(problems, prompts, policy)


@pytest.mark.parametrize("target", ["answer", "question"])
def test_grad_norm_is_the_slope_of_the_loss_along_the_gradient(policy, problems, prompts, target):
    """A small step of length h along the gradient g raises the loss by |g| h."""
    values = GradNormSignal(target=target).compute(problems[:3], prompts[:3], policy)
    for row in range(3):
        prompt = prompts[row]
        answer = tuple(policy.tokenizer.encode(problems[row].reference_answer))
        ids = torch.tensor([prompt.ids + answer if target == "answer" else prompt.ids[: prompt.question[1]]])
        start = len(prompt) if target == "answer" else prompt.question[0]

        def loss(ids=ids, start=start):
            return torch.nn.functional.cross_entropy(
                policy.model(input_ids=ids).logits[0, start - 1 : -1], ids[0, start:]
            )

        weights = list(policy.model.model.layers[-1].parameters())
        gradients = torch.autograd.grad(loss(), weights)
        length, step = math.sqrt(sum(float(g.square().sum()) for g in gradients)), 1e-3
        losses = []
        with torch.no_grad():
            for distance in (step, -2 * step, step):  # ahead, behind, back home
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight.add_(gradient, alpha=distance / length)
                losses.append(float(loss()))
        assert values[row] == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=2e-3)


def test_grad_norm_leaves_the_weights_as_trainable_as_they_were(policy, problems, prompts):
    policy.model.lm_head.weight.requires_grad_(False)
    before = {name: weight.requires_grad for name, weight in policy.model.named_parameters()}
    GradNormSignal().compute(problems[:1], prompts[:1], policy)
    assert {name: weight.requires_grad for name, weight in policy.model.named_parameters()} == before
    assert all(weight.grad is None for weight in policy.model.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: AngleSignal(intra=0.0, inter=0.0), "all problems tie"),
        (lambda: AngleSignal(layer=1.5), "relative depth"),
        (lambda: AngleSignal(activation="mlp_output"), "mlp_input"),
        (lambda: AngleSignal(activation="final_norm", layer=0), "last block only"),
        (lambda: AnswerNLLSignal(answer_template="x"), "every problem is scored on the same text"),
        (lambda: GradNormSignal(target="prompt"), "signal.target=answer"),
        (lambda: PassRateSignal(samples=0), "signal.samples"),
    ],
)
def test_settings_that_cannot_work_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_signals_that_read_a_model_ask_for_one(problems, prompts):
    for signal in (AngleSignal(), AnswerNLLSignal(), GradNormSignal(), PassRateSignal()):
        with pytest.raises(ValueError, match="model="):
            signal.compute(problems, prompts)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_names_all_settings_of_its_signal_and_no_other(path):
    config = yaml.safe_load(path.read_text())
    defaults = [
        key.split("@")[1].partition(".")[0]
        for entry in config.pop("defaults", [])
        if isinstance(entry, dict)
        for key in entry
    ]
    module, _, name = config.pop("_target_").rpartition(".")
    assert module.rsplit(".", 1)[-1] == path.stem
    signal = getattr(import_module(module), name)
    assert set(config) | set(defaults) == set(inspect.signature(signal).parameters)
    typed = {key: value for key, value in config.items() if not str(value).startswith("${")}  # others have defaults
    if not defaults:
        assert isinstance(signal(**typed), Signal)


def test_settings_that_change_the_numbers_change_the_fingerprint():
    signals = [
        AngleSignal(),
        AngleSignal(inter=0.5),
        AngleSignal(layer=0),
        AngleSignal(diagonal=False),
        AngleSignal(activation="block_output"),
        LengthSignal(),
        ResidualSignal(base=AngleSignal()),
        ResidualSignal(base=LengthSignal()),
        MatchedSignal(base=AngleSignal(), by={"length": LengthSignal()}),
        MatchedSignal(base=AngleSignal(), by={}),
        MatchedSignal(base=AngleSignal(), by={}, strata=4),
        RandomSignal(seed=1),
        RandomSignal(seed=2),
        PassRateSignal(samples=3),
        PassRateSignal(samples=4),
        GradNormSignal(target="question"),
        GradNormSignal(),
    ]
    assert len({signal.fingerprint() for signal in signals}) == len(signals)
    assert AngleSignal().fingerprint() == AngleSignal().fingerprint()
