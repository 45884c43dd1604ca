from dataclasses import dataclass

import numpy as np
import pytest
import torch

from gainrl.functional.angles import concentration
from gainrl.signals.activations import Tap, tapped
from gainrl.signals.angle import AngleSignal
from gainrl.training.concentration import ConcentrationProbe
from gainrl.types import PromptTokens


@dataclass(frozen=True)
class Span:
    prompt: int
    row: int
    start: int
    stop: int


def right_padded(sequences):
    width = max(map(len, sequences))
    return torch.tensor([list(ids) + [0] * (width - len(ids)) for ids in sequences])


def test_the_probe_gives_the_ranking_signal_of_the_same_prompts(any_policy, problems, prompts):
    expected = AngleSignal().compute(problems, prompts, any_policy)
    watch = ConcentrationProbe(any_policy.model).watch(prompts)
    chosen = [4, 1, 7]
    with watch([Span(index, row, 0, len(prompts[index])) for row, index in enumerate(chosen)]):
        any_policy.model(input_ids=right_padded([prompts[index].ids for index in chosen]))
    found = watch.concentrations()
    np.testing.assert_allclose(found[chosen], expected[chosen], atol=1e-5)
    assert np.isnan(np.delete(found, chosen)).all()


def test_the_terms_are_reported_apart_and_without_their_weights(policy, problems, prompts):
    watch = ConcentrationProbe(policy.model, AngleSignal(intra=2.0, inter=0.0)).watch(prompts)
    with watch([Span(0, 0, 0, len(prompts[0])), Span(3, 1, 0, len(prompts[3]))]):
        policy.model(input_ids=right_padded([prompts[0].ids, prompts[3].ids]))
    terms = watch.terms()
    for name, weights in (("intra", {"inter": 0.0}), ("inter", {"intra": 0.0})):
        expected = AngleSignal(**weights).compute(problems, prompts, policy)
        np.testing.assert_allclose(terms[name][[0, 3]], expected[[0, 3]], atol=1e-5)
        assert np.isnan(terms[name][1])
    np.testing.assert_allclose(watch.concentrations()[[0, 3]], 2 * terms["intra"][[0, 3]], atol=1e-6)


def test_a_prompt_without_a_prefix_has_one_term_and_its_concentration(policy, prompts):
    bare = [PromptTokens(prompt.ids, {"question": (0, len(prompt))}) for prompt in prompts[:1]]
    watch = ConcentrationProbe(policy.model, AngleSignal(inter=0.0)).watch(bare)
    with watch([Span(0, 0, 0, len(bare[0]))]):
        policy.model(input_ids=right_padded([bare[0].ids]))
    assert np.isnan(watch.terms()["inter"][0])
    assert watch.concentrations()[0] == pytest.approx(watch.terms()["intra"][0])


def test_padding_on_the_left_is_not_measured(policy, problems, prompts):
    expected = AngleSignal().compute(problems, prompts, policy)
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt.ids) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    watch = ConcentrationProbe(policy.model).watch(prompts)
    with watch([Span(row, row, width - len(prompt), width) for row, prompt in enumerate(prompts)]):
        policy.model(input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp_min(0))
    np.testing.assert_allclose(watch.concentrations(), expected, atol=1e-5)


def test_prompt_and_completion_count_as_one_segment_when_asked_for(policy, prompts):
    completions = [(5, 6, 7), (8, 9)]
    sequences = [prompts[row].ids + completions[row][:-1] for row in range(2)]  # the last token is never run
    watch = ConcentrationProbe(policy.model).watch(prompts[:2], completion_lengths=[3, 2])
    with watch([Span(row, row, 0, len(prompts[row])) for row in range(2)]):
        policy.model(input_ids=right_padded(sequences))
    assert watch.terms() == {}  # one segment has no terms
    for row, sequence in enumerate(sequences):
        with tapped(policy.model, [Tap()]) as states, torch.no_grad():
            policy.model(input_ids=torch.tensor([sequence]))
        expected = concentration(states[Tap()][0], (0, len(sequence)), (0, 1))[0]
        assert watch.concentrations()[row] == pytest.approx(float(expected), abs=1e-5)


def test_completions_that_the_forward_did_not_run_are_refused(policy, prompts):
    watch = ConcentrationProbe(policy.model).watch(prompts, completion_lengths=[40])
    with pytest.raises(ValueError, match="share_prompts=False"), watch([Span(0, 0, 0, len(prompts[0]))]):
        policy.model(input_ids=torch.tensor([prompts[0].ids]))


def test_a_prompt_seen_in_two_calls_has_their_mean(policy, prompts):
    watch = ConcentrationProbe(policy.model).watch(prompts)

    def run():
        with watch([Span(0, 0, 0, len(prompts[0]))]):
            policy.model(input_ids=torch.tensor([prompts[0].ids]))
        return watch.concentrations()[0]

    first = run()
    with torch.no_grad():
        policy.model.model.layers[0].mlp.up_proj.weight.mul_(2.0)
    alone = ConcentrationProbe(policy.model).watch(prompts)
    with alone([Span(0, 0, 0, len(prompts[0]))]):
        policy.model(input_ids=torch.tensor([prompts[0].ids]))
    second = alone.concentrations()[0]
    assert first != second
    assert run() == pytest.approx((first + second) / 2)


def test_watching_changes_neither_the_loss_nor_the_gradients(policy, prompts):
    def gradients(watching):
        policy.model.zero_grad()
        watch = ConcentrationProbe(policy.model).watch(prompts)
        ids = torch.tensor([prompts[1].ids])
        if watching:
            with watch([Span(1, 0, 0, len(prompts[1]))]):
                output = policy.model(input_ids=ids)
        else:
            output = policy.model(input_ids=ids)
        output.logits.logsumexp(-1).mean().backward()
        return [weight.grad.clone() for weight in policy.model.parameters()]

    for one, two in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(one, two)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in policy.model.modules())
