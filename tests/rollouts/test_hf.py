import warnings

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from gainrl.functional.streams import stream_key
from gainrl.rollouts.hf import HFEngine, generation_mode
from gainrl.rollouts.paged import PagedEngine
from gainrl.rollouts.vllm import VLLMEngine
from gainrl.types import FinishReason, PromptTokens, SamplingParams
from tests.architectures import RECURRENT, SHARING, VOCABULARY, WINDOWED, build_policy, build_prompts

LENGTHS = [4, 9, 6, 15, 6]


def keys_for(count):
    return torch.tensor([stream_key(0, "test", index) for index in range(count)])


def reference_greedy(policy, prompt, room):
    """One prompt at a time through ``model.generate``."""
    output = policy.model.generate(
        torch.tensor([prompt.ids]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        do_sample=False,
        max_new_tokens=room,
        eos_token_id=list(policy.stop_ids),
        pad_token_id=policy.pad_id,
    )
    return output[0, len(prompt) :].tolist()


def completions(rollout):
    return [ids[:length].tolist() for ids, length in zip(rollout.completion_ids, rollout.lengths, strict=True)]


@pytest.mark.filterwarnings("ignore:.*sliding window or a recurrent state")
@pytest.mark.parametrize("share_prefix", [True, False])
@pytest.mark.parametrize("architecture", SHARING + WINDOWED + RECURRENT)
def test_greedy_completions_equal_generate_token_for_token(architecture, share_prefix):
    policy = build_policy(architecture, stop_ids=(3, 5, 11))
    policy.model.eval()
    prompts = build_prompts(LENGTHS)
    sampling = SamplingParams(group_size=2, max_new_tokens=12, temperature=0.0)
    rollout = HFEngine(max_batch_size=6, share_prefix=share_prefix).generate(policy, prompts, sampling, keys_for(5))
    expected = [reference_greedy(policy, prompt, 12) for prompt in prompts]
    assert completions(rollout) == [ids for ids in expected for _ in range(2)]
    for ids, reason in zip(completions(rollout), rollout.finish_reasons, strict=True):
        assert reason is (FinishReason.STOP if ids[-1] in policy.stop_ids else FinishReason.LENGTH)


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_a_greedy_completion_beside_samples_is_that_of_its_own_request_and_leaves_the_samples_alone(architecture):
    policy = build_policy(architecture, stop_ids=(3, 5, 11))
    policy.model.eval()
    prompts, engine = build_prompts(LENGTHS), HFEngine(max_batch_size=8)
    settings = {"max_new_tokens": 12, "temperature": 0.8, "top_p": 0.9}
    samples = completions(engine.generate(policy, prompts, SamplingParams(group_size=3, **settings), keys_for(5)))
    mixed = SamplingParams(group_size=4, greedy_first=True, **settings)
    groups = completions(engine.generate(policy, prompts, mixed, keys_for(5)))
    for row, prompt in enumerate(prompts):
        assert groups[4 * row] == reference_greedy(policy, prompt, 12)
        assert groups[4 * row + 1 : 4 * row + 4] == samples[3 * row : 3 * row + 3]


@pytest.mark.parametrize("engine", [PagedEngine(), VLLMEngine(server="http://127.0.0.1:1")])
def test_an_engine_that_decodes_a_request_alike_refuses_a_greedy_completion_beside_samples(engine):
    sampling = SamplingParams(group_size=2, max_new_tokens=2, greedy_first=True)
    assert not getattr(engine, "decodes_mixed", False)
    with pytest.raises(ValueError, match="ask it twice"):
        engine.generate(build_policy("llama"), build_prompts([4]), sampling, keys_for(1))


def test_sampled_first_tokens_follow_the_softmax():
    policy = build_policy("llama")
    prompt = build_prompts([6])[0]
    sampling = SamplingParams(group_size=4000, max_new_tokens=1, temperature=0.8)
    rollout = HFEngine().generate(policy, [prompt], sampling, keys_for(1))
    with torch.no_grad():
        probabilities = (policy.model(torch.tensor([prompt.ids])).logits[0, -1] / 0.8).softmax(-1).numpy()
    counts = np.bincount(rollout.completion_ids[:, 0].numpy(), minlength=VOCABULARY)
    expected = probabilities.astype(float) * 4000
    assert expected.min() > 5
    assert chisquare(counts, expected * (4000 / expected.sum())).pvalue > 1e-3


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_completions_do_not_depend_on_batching_order_or_sharing(architecture):
    policy, prompts, keys = build_policy(architecture), build_prompts(LENGTHS), keys_for(5)
    sampling = SamplingParams(group_size=3, max_new_tokens=10)
    together = HFEngine().generate(policy, prompts, sampling, keys)
    order = [3, 0, 4, 2, 1]
    split = HFEngine(max_batch_size=1, share_prefix=False).generate(
        policy, [prompts[index] for index in order], sampling, keys[order]
    )
    by_prompt = dict(zip(order, np.array_split(np.arange(15), 5), strict=True))
    shuffled = completions(split)
    assert completions(together) == [shuffled[row] for index in range(5) for row in by_prompt[index]]
    assert len({tuple(ids) for ids in completions(together)}) > 10


def test_members_of_a_group_differ_and_equal_keys_repeat_them():
    policy, prompts = build_policy("llama"), build_prompts([6, 6])
    prompts = [prompts[0], prompts[0]]
    sampling = SamplingParams(group_size=4, max_new_tokens=10)
    same = completions(HFEngine().generate(policy, prompts, sampling, torch.tensor([7, 7])))
    assert same[:4] == same[4:]
    assert len({tuple(ids) for ids in same[:4]}) == 4


@pytest.mark.filterwarnings("ignore:.*sliding window or a recurrent state")
@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_sampling_logprobs_are_those_of_the_tempered_model(architecture):
    policy, prompts = build_policy(architecture), build_prompts([4, 9])
    sampling = SamplingParams(group_size=3, max_new_tokens=8, temperature=0.7)
    rollout = HFEngine().generate(policy, prompts, sampling, keys_for(2))
    for row, ids in enumerate(completions(rollout)):
        prompt = prompts[row // 3].ids
        with torch.no_grad():
            logits = policy.model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1] / 0.7
        expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).squeeze(1)
        torch.testing.assert_close(rollout.sampling_logprobs[row, : len(ids)], expected, rtol=1e-5, atol=1e-5)
        assert (rollout.sampling_logprobs[row, len(ids) :] == 0).all()
        assert (rollout.completion_ids[row, len(ids) :] == policy.pad_id).all()


def test_a_stop_token_at_the_limit_is_a_stop_and_not_a_cut():
    policy, prompts = build_policy("llama"), build_prompts([6])
    sampling = SamplingParams(group_size=1, max_new_tokens=1, temperature=0.0)
    token = int(HFEngine().generate(policy, prompts, sampling, keys_for(1)).completion_ids[0, 0])
    policy.stop_ids = (token,)
    rollout = HFEngine().generate(policy, prompts, sampling, keys_for(1))
    assert rollout.finish_reasons == [FinishReason.STOP]
    assert completions(rollout) == [[token]]
    assert not rollout.truncated.any()


def test_padding_and_stopping_with_the_same_id_keeps_the_stop_token():
    policy, prompts = build_policy("llama", stop_ids=(0, 3)), build_prompts(LENGTHS)
    rollout = HFEngine().generate(policy, prompts, SamplingParams(group_size=6, max_new_tokens=30), keys_for(5))
    stopped = [ids for ids, cut in zip(completions(rollout), rollout.truncated.tolist(), strict=True) if not cut]
    assert any(ids[-1] == 0 for ids in stopped)
    assert all(ids[-1] in (0, 3) and not set(ids[:-1]) & {0, 3} for ids in stopped)


def test_bfloat16_models_report_float32_logprobs():
    policy = build_policy("qwen2", dtype=torch.bfloat16)
    rollout = HFEngine().generate(
        policy, build_prompts([6, 4]), SamplingParams(group_size=2, max_new_tokens=5), keys_for(2)
    )
    assert rollout.sampling_logprobs.dtype == torch.float32
    assert rollout.completion_ids.shape[0] == 4


def test_the_mode_of_every_module_is_restored():
    policy = build_policy("llama")
    policy.model.train()
    policy.model.model.layers[0].eval()
    before = [module.training for module in policy.model.modules()]
    with generation_mode(policy.model):
        assert not any(module.training for module in policy.model.modules())
        assert not torch.is_grad_enabled()
    assert [module.training for module in policy.model.modules()] == before


def test_a_model_that_cannot_share_says_so_once():
    policy, prompts = build_policy("mistral"), build_prompts([9, 6])
    sampling = SamplingParams(group_size=1, max_new_tokens=4)
    engine = HFEngine()
    with pytest.warns(UserWarning, match="sliding window or a recurrent state"):
        engine.generate(policy, prompts, sampling, keys_for(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine.generate(policy, prompts, sampling, keys_for(2))


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        ({"group_size": 0}, "group_size=0"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_k": -1}, "top_k=-1"),
    ],
)
def test_sampling_out_of_range_is_refused(sampling, said):
    arguments = {"group_size": 1, "max_new_tokens": 1} | sampling
    with pytest.raises(ValueError, match=said):
        HFEngine().generate(build_policy("llama"), build_prompts([4]), SamplingParams(**arguments), keys_for(1))


def test_prompts_and_keys_must_match():
    sampling = SamplingParams(group_size=1, max_new_tokens=1)
    policy = build_policy("llama")
    with pytest.raises(ValueError, match="one key per prompt"):
        HFEngine().generate(policy, build_prompts([4]), sampling, keys_for(2))
    with pytest.raises(ValueError, match="no prompts"):
        HFEngine().generate(policy, [], sampling, keys_for(0))
    with pytest.raises(ValueError, match="prompt 0 has no tokens"):
        HFEngine().generate(policy, [PromptTokens(ids=(), segments={})], sampling, keys_for(1))


def test_adapters_take_part_in_rollouts():
    peft = pytest.importorskip("peft")
    policy, prompts = build_policy("llama"), build_prompts(LENGTHS)
    settings = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    policy.model = peft.get_peft_model(policy.model, settings).eval()
    sampling = SamplingParams(group_size=1, max_new_tokens=8, temperature=0.0)
    rollout = HFEngine().generate(policy, prompts, sampling, keys_for(5))
    merged = build_policy("llama")
    merged.model = policy.model.merge_and_unload()
    assert completions(rollout) == [reference_greedy(merged, prompt, 8) for prompt in prompts]
