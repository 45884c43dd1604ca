import torch
from hypothesis import given
from hypothesis import strategies as st

from gainrl.rollouts.caches import can_share, common_prefix_length, shared_prefix
from gainrl.rollouts.hf import HFEngine
from gainrl.types import PromptTokens, SamplingParams
from tests.architectures import build_policy, build_prompts

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple)


def test_the_last_token_of_the_shortest_stays_out():
    assert common_prefix_length([(1, 2, 3), (1, 2, 3, 4)]) == 2
    assert common_prefix_length([(1, 2, 3)]) == 2
    assert common_prefix_length([(1,), (1, 2)]) == 0


@given(st.lists(TOKENS, min_size=1, max_size=6))
def test_the_common_prefix_is_that_of_a_direct_comparison(sequences):
    shared = 0
    for column in zip(*sequences, strict=False):
        if len(set(column)) > 1:
            break
        shared += 1
    assert common_prefix_length(sequences) == min(shared, min(map(len, sequences)) - 1)


def test_a_window_that_holds_the_whole_text_can_share():
    model = build_policy("mistral").model  # window of 6 tokens
    assert can_share(model, 6)
    assert not can_share(model, 7)


class CountedTokens:
    """How many tokens each forward of the model was given."""

    def __init__(self, model):
        self.shapes = []
        model.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, module, arguments, keywords):
        self.shapes.append(tuple(keywords["input_ids"].shape))

    def prefixes(self, length):
        return self.shapes.count((1, length))


def rolled_out(engine, policy, prompts):
    sampling = SamplingParams(group_size=2, max_new_tokens=3)
    return engine.generate(policy, prompts, sampling, torch.arange(len(prompts)))


def test_the_prefix_runs_once_per_version_of_the_weights():
    policy, engine = build_policy("llama"), HFEngine()
    counted = CountedTokens(policy.model)
    for lengths in ([15, 17], [16], [15, 18, 16]):  # a step, a refill round, an evaluation
        rolled_out(engine, policy, build_prompts(lengths, prefix=11))
    assert counted.prefixes(11) == 1
    with torch.no_grad():
        next(policy.model.parameters()).add_(0.01)
    for lengths in ([15, 17], [16]):
        rolled_out(engine, policy, build_prompts(lengths, prefix=11))
    assert counted.prefixes(11) == 2


def test_another_prefix_takes_the_place_of_the_one_kept():
    policy, engine = build_policy("llama"), HFEngine()
    counted = CountedTokens(policy.model)
    for seed in (0, 1, 1, 0):
        rolled_out(engine, policy, build_prompts([15, 17], prefix=11, seed=seed))
    assert counted.prefixes(11) == 3


def test_a_kept_prefix_changes_no_bit():
    policy, prompts = build_policy("llama"), build_prompts([15, 17, 16], prefix=11)
    kept = HFEngine()
    rolled_out(kept, policy, prompts[:1])
    first, again = (rolled_out(engine, policy, prompts) for engine in (HFEngine(), kept))
    assert torch.equal(first.completion_ids, again.completion_ids)
    assert torch.equal(first.sampling_logprobs, again.sampling_logprobs)


def test_two_models_at_one_version_do_not_share_a_prefix():
    engine, prompts = HFEngine(), build_prompts([15, 17], prefix=11)
    for seed in (0, 1):
        policy = build_policy("llama", seed=seed)
        expected, found = (rolled_out(one, policy, prompts) for one in (HFEngine(), engine))
        assert torch.equal(expected.sampling_logprobs, found.sampling_logprobs)


def test_what_the_questions_have_in_common_stays_out_of_the_prefix():
    one, other = (PromptTokens((1, 2, 3, 7, last), {"question": (2, 5)}) for last in (8, 9))
    assert shared_prefix([one, other]) == (1, 2)
    assert shared_prefix([PromptTokens((1, 2), {"question": (2, 2)}), one]) == (1,)
