"""What decoding holds, and in which precision."""

import copy

import pytest
import torch

from gainrl.rollouts import caches, hf, sampling
from gainrl.rollouts.caches import SharedPrompts
from gainrl.rollouts.hf import HFEngine, weights_cast_once
from gainrl.types import SamplingParams
from tests.architectures import build_policy, build_prompts
from tests.rollouts.test_hf import completions, keys_for

LENGTHS = [4, 9, 6, 15, 6]
MIXED = {"device_type": "cpu", "dtype": torch.bfloat16}


def rollout(policy, *, room=12, engine=None, group_size=2, temperature=1.0):
    sampling = SamplingParams(group_size=group_size, max_new_tokens=room, temperature=temperature)
    return (engine or HFEngine()).generate(policy, build_prompts(LENGTHS), sampling, keys_for(5))


def buffers(monkeypatch):
    """Shape and dtype of every buffer of the rows' own tokens, as they are after each step."""
    seen = []
    update = caches._OwnTokens.update

    def noted(self, *given, **named):
        found = update(self, *given, **named)
        seen.append((tuple(self._keys.shape), self._keys.dtype, self._values.dtype))
        return found

    monkeypatch.setattr(caches._OwnTokens, "update", noted)
    return seen


def test_completions_that_end_early_never_take_the_memory_of_the_limit(monkeypatch):
    policy = build_policy("llama", stop_ids=tuple(range(3, 40)))
    seen = buffers(monkeypatch)
    found = rollout(policy, room=400)
    assert int(found.lengths.max()) < 60
    assert max(shape[2] for shape, *_ in seen) == 64


def test_buffers_that_grow_hold_what_was_written(monkeypatch):
    policy = build_policy("llama", stop_ids=())
    expected = completions(rollout(policy, room=20))
    monkeypatch.setattr(caches, "_FIRST_COLUMNS", 3)
    seen = buffers(monkeypatch)
    assert completions(rollout(policy, room=20)) == expected
    assert sorted({shape[2] for shape, *_ in seen}) == [3, 6, 12, 20]


def test_keys_and_values_are_kept_in_the_precision_in_which_attention_reads_them(monkeypatch):
    policy = build_policy("llama")
    blocks = []
    regroup = SharedPrompts._regroup

    def noted(self):
        blocks.extend(self.blocks)
        regroup(self)

    monkeypatch.setattr(SharedPrompts, "_regroup", noted)
    seen = buffers(monkeypatch)
    with torch.autocast(**MIXED):
        rollout(policy)
    assert {dtype for _, *pair in seen for dtype in pair} == {torch.bfloat16}
    assert {block.dtype for pair in blocks for block in pair} == {torch.bfloat16}


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_log_probs_of_a_rollout_in_bfloat16_are_those_of_a_plain_forward_to_its_rounding(architecture):
    policy = build_policy(architecture, stop_ids=())
    with torch.autocast(**MIXED):
        found = rollout(policy)
        for row, ids in enumerate(completions(found)):
            prompt = list(build_prompts(LENGTHS)[row // 2].ids)
            with torch.no_grad():
                logits = policy.model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].float()
            expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).squeeze(1)
            torch.testing.assert_close(found.sampling_logprobs[row, : len(ids)], expected, rtol=0, atol=0.06)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_weights_cast_once_give_the_bits_of_weights_cast_at_every_call(architecture):
    policy, ids = build_policy(architecture), torch.arange(12).reshape(2, 6)
    policy.model.eval()
    before = copy.deepcopy(policy.model.state_dict())
    with torch.no_grad(), torch.autocast(**MIXED):
        expected = policy.model(ids).logits
        with weights_cast_once(policy.model, policy.device):
            dtypes = {module.weight.dtype for module in policy.model.modules() if isinstance(module, torch.nn.Linear)}
            found = policy.model(ids).logits
    assert dtypes == {torch.bfloat16}
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert all(torch.equal(value, before[name]) for name, value in policy.model.state_dict().items())


def test_weights_come_back_from_a_rollout_that_fails(monkeypatch):
    policy = build_policy("llama")
    monkeypatch.setattr(hf, "decode", lambda *given: 1 / 0)
    with torch.autocast(**MIXED), pytest.raises(ZeroDivisionError):
        rollout(policy)
    assert {weight.dtype for weight in policy.model.parameters()} == {torch.float32}


def test_a_rollout_that_runs_out_of_memory_goes_on_in_smaller_batches(monkeypatch):
    """Rollouts and evaluation alike: every engine call is bounded, and completions do not depend on the batch."""
    policy, decode, tried = build_policy("llama"), hf.decode, []
    expected = completions(rollout(policy))

    def small_device(policy, filled, sampling, keys):
        tried.append(len(keys))
        if len(keys) > 4:
            raise torch.OutOfMemoryError
        return decode(policy, filled, sampling, keys)

    monkeypatch.setattr(hf, "decode", small_device)
    engine = HFEngine()
    with pytest.warns(UserWarning, match=r"out of memory.*max_batch_size=4"):
        found = completions(rollout(policy, engine=engine))
    assert found == expected
    assert tried == [10, 6, 4, 4, 2]
    tried.clear()
    rollout(policy, engine=engine)  # the smaller size is kept
    assert tried == [4, 4, 2]


def test_a_single_group_that_does_not_fit_is_an_error(monkeypatch):
    def full(*given):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(hf, "decode", full)
    with pytest.warns(UserWarning, match="out of memory"), pytest.raises(torch.OutOfMemoryError):
        rollout(build_policy("llama"))


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_looking_at_the_rows_less_often_changes_no_completion(architecture, monkeypatch):
    policy = build_policy(architecture, stop_ids=(3, 5, 11, 17))
    expected = rollout(policy, room=40, group_size=6)
    assert expected.lengths.unique().numel() > 3
    steps = []
    draw = sampling.draw_tokens
    monkeypatch.setattr(sampling, "draw_tokens", lambda *given, **named: (steps.append(1), draw(*given, **named))[1])
    monkeypatch.setattr(sampling, "_LOOK_EVERY", {})
    found = rollout(policy, room=40, group_size=6)
    assert completions(found) == completions(expected)
    assert found.finish_reasons == expected.finish_reasons
    assert torch.equal(found.lengths, expected.lengths)
    assert len(steps) == min(40, -(-int(expected.lengths.max()) // 16) * 16)
