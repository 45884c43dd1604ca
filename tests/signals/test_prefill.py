"""Every prefill signal against a plain forward pass of each prompt by itself, pair by pair and token by token."""

import numpy as np
import pytest
import torch
from transformers import Lfm2Config

from gainrl.signals.angle import AngleSignal
from gainrl.signals.answer_nll import AnswerNLLSignal
from gainrl.signals.entropy import EntropySignal
from gainrl.signals.hidden_norm import HiddenNormSignal
from gainrl.signals.perplexity import PerplexitySignal
from gainrl.signals.prefill import PrefillPass, length_batches, run_prefill
from gainrl.signals.shared_prefix import shared_prefix_length
from gainrl.types import PromptTokens
from tests.signals.conftest import build_policy, build_prompts

SIGNALS = {
    "angle": AngleSignal(),
    "angle_intra": AngleSignal(inter=0.0, diagonal=False),
    "angle_inter": AngleSignal(intra=0.0, layer=0),
    "angle_block": AngleSignal(activation="block_output", layer=0.5),
    "angle_final": AngleSignal(activation="final_norm"),
    "perplexity": PerplexitySignal(),
    "entropy": EntropySignal(),
    "hidden_norm": HiddenNormSignal(),
    "answer_nll": AnswerNLLSignal(answer_template=" {answer}"),
}


def norm_before_mlp(model, layer):
    """The module whose output enters the MLP, named per architecture; the package looks at the MLP instead."""
    family = model.config.model_type
    if family == "gpt2":
        return model.transformer.h[layer].ln_2
    if family == "gpt_neox":
        return model.gpt_neox.layers[layer].post_attention_layernorm
    block = model.model.layers[layer]
    return block.pre_feedforward_layernorm if family in ("gemma2", "gemma3_text") else block.post_attention_layernorm


@torch.no_grad()
def plain_forward(policy, ids):
    """Logits and the hidden states of every layer of one prompt, float64."""
    kept = {}
    hooks = [
        norm_before_mlp(policy.model, layer).register_forward_hook(
            lambda module, args, output, layer=layer: kept.__setitem__(layer, output[0].double())
        )
        for layer in range(3)
    ]
    output = policy.model(input_ids=torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    for hook in hooks:
        hook.remove()
    return output.logits[0].double(), [state[0].double() for state in output.hidden_states], kept


def mean_cosine(a, b, diagonal=True):
    a, b = torch.nn.functional.normalize(a, dim=1), torch.nn.functional.normalize(b, dim=1)
    cosines = a @ b.T
    return float(cosines.mean() if diagonal else cosines[~torch.eye(len(a), dtype=torch.bool)].mean())


def oracle(policy, problem, prompt):
    start, end = prompt.question
    logits, blocks, mlp = plain_forward(policy, prompt.ids)
    log_all = torch.log_softmax(logits, -1)
    question = [float(log_all[t - 1, prompt.ids[t]]) for t in range(start, end)]
    entropies = [-float((log_all[t - 1].exp() * log_all[t - 1]).sum()) for t in range(start, end)]
    answer = policy.tokenizer.encode(" " + problem.reference_answer)
    log_answer = torch.log_softmax(plain_forward(policy, prompt.ids + tuple(answer))[0], -1)
    answer_scores = [float(log_answer[len(prompt) + i - 1, token]) for i, token in enumerate(answer)]
    last_block = last_block_output(policy, prompt.ids)

    def both(states):
        return mean_cosine(states[start:end], states[start:end]) + mean_cosine(states[start:end], states[:start])

    return {
        "angle": both(mlp[2]),
        "angle_intra": mean_cosine(mlp[2][start:end], mlp[2][start:end], diagonal=False),
        "angle_inter": mean_cosine(mlp[0][start:end], mlp[0][:start]),
        "angle_block": both(blocks[2]),  # states behind the second of three blocks: depth 0.5
        "angle_final": both(blocks[3]),  # transformers applies the final norm to the last entry
        "perplexity": float(np.exp(-np.mean(question))),
        "entropy": float(np.mean(entropies)),
        "hidden_norm": float(last_block[start:end].norm(dim=1).mean()),
        "answer_nll": -float(np.mean(answer_scores)),
    }


@torch.no_grad()
def last_block_output(policy, ids):
    model = policy.model
    family = model.config.model_type
    norm = {"gpt2": "transformer.ln_f", "gpt_neox": "gpt_neox.final_layer_norm"}.get(family, "model.norm")
    kept = []
    hook = model.get_submodule(norm).register_forward_pre_hook(lambda module, args: kept.append(args[0][0].double()))
    model(input_ids=torch.tensor([ids]), use_cache=False)
    hook.remove()
    return kept[0]


def test_one_shared_pass_equals_a_plain_forward_of_each_prompt(any_policy, problems, prompts):
    values = run_prefill(list(SIGNALS.values()), problems, prompts, any_policy, tokens_per_batch=48)
    for row, (problem, prompt) in enumerate(zip(problems, prompts, strict=True)):
        expected = oracle(any_policy, problem, prompt)
        for name, found in zip(SIGNALS, values[:, row], strict=True):
            assert found == pytest.approx(expected[name], abs=1e-5, rel=1e-5), (name, row)


@torch.no_grad()
def test_a_model_with_recurrent_layers_is_read_behind_the_prefix_too(problems, prompts):
    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    policy = build_policy(Lfm2Config(**sizes, **heads, layer_types=["conv", "full_attention"], conv_L_cache=3))
    signals = [AngleSignal(activation="block_output", layer=0)]
    values = run_prefill(signals, problems, prompts, policy, tokens_per_batch=48)
    for prompt, found in zip(prompts, values[0], strict=True):
        start, end = prompt.question
        plain = policy.model(input_ids=torch.tensor([prompt.ids]), output_hidden_states=True, use_cache=False)
        states = plain.hidden_states[1][0].double()
        expected = mean_cosine(states[start:end], states[start:end]) + mean_cosine(states[start:end], states[:start])
        assert found == pytest.approx(expected, abs=1e-5)


def test_signals_computed_alone_equal_signals_computed_together(policy, problems, prompts):
    together = run_prefill(list(SIGNALS.values()), problems, prompts, policy)
    for values, signal in zip(together, SIGNALS.values(), strict=True):
        np.testing.assert_allclose(signal.compute(problems, prompts, policy), values, rtol=1e-5, atol=1e-5)


def test_several_signals_cost_one_pass(policy, problems, prompts):
    calls = []
    policy.model.model.register_forward_pre_hook(lambda module, args: calls.append(1))
    run_prefill([AngleSignal()], problems, prompts, policy)
    alone = len(calls)
    calls.clear()
    run_prefill([AngleSignal(), AngleSignal(inter=0.0), HiddenNormSignal()], problems, prompts, policy)
    assert len(calls) == alone


def test_logits_are_computed_only_if_a_signal_needs_them(policy, problems, prompts):
    calls = []
    policy.model.lm_head.register_forward_pre_hook(lambda module, args: calls.append(1))
    run_prefill([AngleSignal(), HiddenNormSignal()], problems, prompts, policy)
    assert not calls
    run_prefill([EntropySignal()], problems, prompts, policy)
    assert calls


def test_nothing_behind_the_question_is_run_and_the_prefix_only_once(policy, problems, prompts):
    seen = []
    policy.model.model.embed_tokens.register_forward_pre_hook(lambda module, args: seen.append(args[0].numel()))
    run_prefill([AngleSignal()], problems, prompts, policy, tokens_per_batch=1)  # one prompt a batch: no padding
    assert sum(seen) == 11 + sum(end - start for start, end in (prompt.question for prompt in prompts))


def test_the_batch_layout_does_not_change_the_numbers(any_policy, problems, prompts):
    alone = run_prefill([AngleSignal()], problems, prompts, any_policy, tokens_per_batch=1)
    batched = run_prefill([AngleSignal()], problems, prompts, any_policy, tokens_per_batch=10_000)
    np.testing.assert_allclose(batched, alone, rtol=0, atol=1e-6)


def test_a_batch_run_twice_gives_the_same_numbers(any_policy, problems, prompts):
    """The cache of the shared prefix is read by every batch and written by none."""
    pass_ = PrefillPass([AngleSignal()], problems, prompts, any_policy, tokens_per_batch=48)
    assert len(pass_.batches) > 1
    first = [pass_.measure(rows) for rows in pass_.batches]
    again = [pass_.measure(rows) for rows in pass_.batches]
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one, two)


def test_prompts_that_share_only_a_part_of_the_prefix_are_exact(policy, problems):
    prompts = build_prompts()
    other = (9, 9, 9) + prompts[1].ids[8:]
    shorter = PromptTokens(prompts[1].ids[:5] + other, {"question": (8, 8 + len(other) - 6)})
    prompts[1] = shorter
    assert shared_prefix_length(prompts) == 5
    found = run_prefill([SIGNALS["angle"]], problems, prompts, policy)[0]
    for row, prompt in enumerate(prompts):
        assert found[row] == pytest.approx(oracle(policy, problems[row], prompt)["angle"], abs=1e-5)


def test_prompts_without_a_prefix_have_an_intra_term_only(policy, problems):
    prompts = [PromptTokens(prompt.ids[11:], {"question": (0, len(prompt) - 14)}) for prompt in build_prompts()]
    found = run_prefill([SIGNALS["angle_intra"], PerplexitySignal()], problems, prompts, policy)
    for row, prompt in enumerate(prompts):
        _, _, mlp = plain_forward(policy, prompt.ids)
        states = mlp[2][: prompt.question[1]]
        assert found[0, row] == pytest.approx(mean_cosine(states, states, diagonal=False), abs=1e-5)
    assert np.isfinite(found[1]).all()  # from the second token on, the first has nothing before it
    with pytest.raises(ValueError, match=r"signal.inter=0"):
        AngleSignal().compute(problems, prompts, policy)


def test_an_empty_question_is_nan_and_the_others_are_measured(policy, problems):
    prompts = build_prompts()
    prompts[4] = PromptTokens(prompts[4].ids[:14], {"question": (11, 11), "closing": (11, 14)})
    values = AngleSignal().compute(problems, prompts, policy)
    assert np.flatnonzero(np.isnan(values)).tolist() == [4]


def test_the_model_is_left_in_the_mode_it_had_and_without_hooks(policy, problems, prompts):
    policy.model.train()
    policy.model.model.layers[0].eval()
    AngleSignal().compute(problems, prompts, policy)
    assert policy.model.training
    assert not policy.model.model.layers[0].training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in policy.model.modules())


def test_batches_hold_similar_lengths_within_the_token_budget():
    lengths = np.random.default_rng(0).integers(1, 60, 500)
    batches = length_batches(lengths, 256)
    assert sorted(np.concatenate(batches)) == list(range(500))
    for rows in batches:
        assert len(rows) * lengths[rows].max() <= 256
        assert lengths[rows].sum() >= 0.9 * len(rows) * lengths[rows].max()


def test_a_prompt_beyond_the_token_budget_is_a_batch_by_itself():
    batches = length_batches(np.array([3, 90, 0, 4]), 10)
    assert batches[0].tolist() == [1]
    assert sorted(np.concatenate(batches)) == [0, 1, 3]


def test_signals_that_want_different_answer_texts_are_refused(policy, problems, prompts):
    with pytest.raises(ValueError, match="answer_template"):
        run_prefill([AnswerNLLSignal(), AnswerNLLSignal(answer_template="#{answer}")], problems, prompts, policy)


def test_a_model_that_scales_its_logits_is_refused_instead_of_scored_wrongly(policy, problems, prompts):
    policy.model.lm_head.register_forward_hook(
        lambda module, args, output: output if args[0].dim() == 2 else output * 3.0
    )
    with pytest.raises(ValueError, match="signal=angle"):
        PerplexitySignal().compute(problems, prompts, policy)
