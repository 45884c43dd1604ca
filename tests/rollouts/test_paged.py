from dataclasses import replace

import pytest
import torch

from gainrl.rollouts import paged
from gainrl.rollouts.paged import PagedEngine
from gainrl.types import FinishReason, SamplingParams
from tests.architectures import build_policy, build_prompts
from tests.rollouts.agreement import check_distribution, check_greedy, completions, keys_for


def engine(**settings):
    return PagedEngine(**{"page_size": 8, "max_batch_tokens": 64} | settings)


@pytest.mark.filterwarnings("ignore:.*sliding window or a recurrent state")
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "mistral"])
def test_greedy_completions_are_those_of_hf(architecture):
    policy = build_policy(architecture, stop_ids=(3, 5, 11))
    check_greedy(engine(max_batch_size=4), policy, build_prompts([4, 9, 6, 15, 6]))


def test_both_finish_reasons_are_those_of_hf():
    policy = build_policy("llama", stop_ids=(3, 5, 11))
    assert check_greedy(engine(), policy, build_prompts([4, 9, 6, 15, 6])) == set(FinishReason)


@pytest.mark.parametrize("settings", [{"temperature": 0.8}, {"top_k": 6, "top_p": 0.8}])
def test_samples_follow_the_distribution(settings):
    check_distribution(engine(max_batch_size=64), build_policy("llama"), build_prompts([6])[0], count=600, **settings)


def test_the_same_call_repeats_its_completions_and_leaves_other_draws_alone():
    policy, prompts = build_policy("llama"), build_prompts([6, 4])
    sampling = SamplingParams(group_size=3, max_new_tokens=8)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again = (engine().generate(policy, prompts, sampling, keys_for(2)) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert completions(first) == completions(again)
    other = engine().generate(policy, prompts, sampling, keys_for(2) + 1)
    assert completions(other) != completions(first)
    assert len({tuple(ids) for ids in completions(first)}) > 3


def test_a_second_round_is_not_a_copy_of_the_first():
    policy, prompts = build_policy("llama"), build_prompts([6, 4])
    sampling = SamplingParams(group_size=3, max_new_tokens=8)
    begun, more, again = (
        completions(engine().generate(policy, prompts, replace(sampling, first=first), keys_for(2)))
        for first in (0, 3, 3)
    )
    assert more == again
    assert more != begun


def test_logprobs_are_those_of_the_tempered_model_and_none_where_it_is_cut():
    policy, prompts = build_policy("llama"), build_prompts([4, 9])
    sampling = SamplingParams(group_size=2, max_new_tokens=6, temperature=0.7)
    rollout = engine().generate(policy, prompts, sampling, keys_for(2))
    for row, ids in enumerate(completions(rollout)):
        prompt = prompts[row // 2].ids
        with torch.no_grad():
            logits = policy.model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1] / 0.7
        expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).squeeze(1)
        torch.testing.assert_close(rollout.sampling_logprobs[row, : len(ids)], expected, rtol=1e-5, atol=1e-5)
    cut = SamplingParams(group_size=2, max_new_tokens=6, top_p=0.9)
    assert engine().generate(policy, prompts, cut, keys_for(2)).sampling_logprobs is None


def test_the_model_is_left_as_it_was():
    policy = build_policy("llama")
    policy.model.train()
    attention = policy.model.config._attn_implementation
    engine().generate(policy, build_prompts([4]), SamplingParams(group_size=1, max_new_tokens=2), keys_for(1))
    assert policy.model.training
    assert policy.model.config._attn_implementation == attention


def test_a_model_that_cannot_be_served_is_refused_with_the_reason():
    with pytest.raises(RuntimeError, match=r"cannot serve Lfm2ForCausalLM.*rollout=hf"):
        engine().generate(
            build_policy("lfm2"), build_prompts([4]), SamplingParams(group_size=1, max_new_tokens=2), keys_for(1)
        )


def test_a_model_that_caps_its_attention_scores_is_refused():
    with pytest.raises(RuntimeError, match=r"cannot serve Gemma2ForCausalLM.*capped.*rollout=hf"):
        engine().generate(
            build_policy("gemma2"), build_prompts([4]), SamplingParams(group_size=1, max_new_tokens=2), keys_for(1)
        )


@pytest.mark.parametrize("name", ["max_batch_size", "max_batch_tokens", "page_size"])
def test_sizes_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=f"rollout.engine.{name}=0"):
        PagedEngine(**{name: 0})


def test_an_older_transformers_is_refused_before_any_weight_loads(monkeypatch):
    monkeypatch.delattr(paged.configuration_utils, "ContinuousBatchingConfig")
    with pytest.raises(ValueError, match=r"transformers>=5\.23.*rollout=hf"):
        PagedEngine()
