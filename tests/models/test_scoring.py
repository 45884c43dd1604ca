from contextlib import contextmanager

import pytest
import torch

from gainrl.models import scoring
from gainrl.models.scoring import chunk_entries, completion_scores, runs_in_full, usual_chunk
from gainrl.models.shared_prompts import shared_form
from tests.architectures import RECURRENT, SHARING, VOCABULARY, WINDOWED, build_policy, build_prompts

LENGTHS = [4, 9, 6]
GROUP = 3


def build_completions(seed=1, width=8):
    source = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCABULARY, (len(LENGTHS) * GROUP, width), generator=source)
    return ids, torch.tensor([8, 1, 5, 2, 2, 7, 3, 8, 4])


def one_by_one(policy, prompts, ids, lengths, temperature=1.0):
    """Every sequence alone, without padding, through the model's own logits."""
    logprobs, entropies = torch.zeros(ids.shape), torch.zeros(ids.shape)
    for row, length in enumerate(lengths.tolist()):
        prompt = prompts[row // GROUP].ids
        sequence = torch.tensor([[*prompt, *ids[row, :length].tolist()]])
        logits = policy.model(input_ids=sequence, use_cache=False).logits[0, len(prompt) - 1 : -1] / temperature
        table = logits.log_softmax(-1)
        logprobs[row, :length] = table.gather(1, ids[row, :length, None]).squeeze(1)
        entropies[row, :length] = -(table.exp() * table).sum(-1)
    return logprobs, entropies


def logprobs_of(*arguments, **settings):
    scored = completion_scores(*arguments, **settings)
    return scored.logprobs, scored.entropies


def gradients(policy, loss):
    policy.model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in policy.model.named_parameters()}


@pytest.mark.parametrize("share_prompts", [True, False])
@pytest.mark.parametrize("architecture", SHARING + WINDOWED + RECURRENT)
def test_values_and_gradients_equal_those_of_unpadded_single_sequences(architecture, share_prompts):
    policy, prompts = build_policy(architecture), build_prompts(LENGTHS)
    ids, lengths = build_completions()
    weights = torch.randn(2, *ids.shape, generator=torch.Generator().manual_seed(2))
    expected = one_by_one(policy, prompts, ids, lengths, temperature=0.7)
    expected_grads = gradients(policy, (weights[0] * expected[0] + weights[1] * expected[1]).sum())
    got = logprobs_of(
        policy, prompts, ids, lengths, GROUP, temperature=0.7, with_entropy=True, share_prompts=share_prompts
    )
    torch.testing.assert_close(got[0], expected[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got[1], expected[1], rtol=1e-5, atol=1e-5)
    for name, grad in gradients(policy, (weights[0] * got[0] + weights[1] * got[1]).sum()).items():
        scale = expected_grads[name].norm().clamp_min(1e-3)
        assert (grad - expected_grads[name]).norm() / scale < 1e-5, name


@pytest.mark.parametrize("share_prompts", [True, False])
def test_selected_rows_give_the_same_numbers_in_the_order_asked_for(share_prompts):
    policy, prompts = build_policy("llama"), build_prompts(LENGTHS)
    ids, lengths = build_completions()
    every, _ = logprobs_of(policy, prompts, ids, lengths, GROUP)
    rows = torch.tensor([7, 0, 1, 5])
    some, entropy = logprobs_of(policy, prompts, ids, lengths, GROUP, rows=rows, share_prompts=share_prompts)
    assert entropy is None
    torch.testing.assert_close(some, every[rows], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share_prompts", [True, False])
def test_a_value_is_that_of_the_state_in_which_its_token_is_chosen(share_prompts):
    policy, prompts = build_policy("llama"), build_prompts(LENGTHS)
    ids, lengths = build_completions()
    weight = torch.linspace(-1, 1, policy.model.config.hidden_size)
    found = completion_scores(
        policy, prompts, ids, lengths, GROUP, value_head=lambda hidden: hidden @ weight, share_prompts=share_prompts
    )
    alone = completion_scores(
        policy, prompts, ids, lengths, GROUP, value_head=lambda hidden: hidden @ weight, with_logprobs=False
    )
    expected = torch.zeros(ids.shape)
    for row, length in enumerate(lengths.tolist()):
        sequence = torch.tensor([[*prompts[row // GROUP].ids, *ids[row, : length - 1].tolist()]])
        hidden = policy.model(input_ids=sequence, output_hidden_states=True).hidden_states[-1][0, -length:]
        expected[row, :length] = hidden @ weight
    torch.testing.assert_close(found.values, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(alone.values, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.logprobs, logprobs_of(policy, prompts, ids, lengths, GROUP)[0])
    assert found.entropies is alone.logprobs is alone.entropies is None


def test_no_rows_give_empty_results():
    policy, prompts = build_policy("llama"), build_prompts(LENGTHS)
    ids, lengths = build_completions()
    logprobs, entropy = logprobs_of(
        policy, prompts, ids, lengths, GROUP, rows=torch.tensor([], dtype=torch.int64), with_entropy=True
    )
    assert logprobs.shape == entropy.shape == (0, 8)


def mlp_input(policy, block, ids):
    seen = []
    handle = block.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0][0].detach()))
    policy.model(torch.tensor([ids]))
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("share_prompts", [True, False])
def test_an_observer_reads_the_prompts_of_the_training_forward(share_prompts):
    policy, prompts = build_policy("llama"), build_prompts(LENGTHS)
    ids, lengths = build_completions()
    block = policy.model.model.layers[-1].mlp
    seen = {}

    @contextmanager
    def observer(spans):
        def read(module, arguments):
            for span in spans:
                seen[span.prompt] = arguments[0][span.row, span.start : span.stop].detach()

        handle = block.register_forward_pre_hook(read)
        yield
        handle.remove()

    rows = torch.tensor([8, 6, 0, 1])
    logprobs_of(policy, prompts, ids, lengths, GROUP, rows=rows, hidden_observer=observer, share_prompts=share_prompts)
    assert sorted(seen) == [0, 2]
    for index, activation in seen.items():
        expected = mlp_input(policy, block, prompts[index].ids)
        torch.testing.assert_close(activation, expected, rtol=1e-5, atol=1e-5)


def test_gradient_checkpointing_takes_the_plain_path():
    policy, prompts = build_policy("llama"), build_prompts(LENGTHS)
    ids, lengths = build_completions()
    expected = gradients(policy, logprobs_of(policy, prompts, ids, lengths, GROUP)[0].sum())
    policy.model.gradient_checkpointing_enable()
    policy.model.train()
    got = gradients(policy, logprobs_of(policy, prompts, ids, lengths, GROUP)[0].sum())
    for name, grad in got.items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-4, atol=1e-4)


def test_completions_that_do_not_belong_to_the_prompts_are_refused():
    policy, prompts = build_policy("llama"), build_prompts(LENGTHS)
    ids, lengths = build_completions()
    with pytest.raises(ValueError, match="3 prompts with group_sizes=2 need 6 completions"):
        logprobs_of(policy, prompts, ids, lengths, 2)


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_other_attention_implementations_share_prompts_by_copies(architecture):
    policy, prompts = build_policy(architecture), build_prompts(LENGTHS)
    ids, lengths = build_completions()
    assert shared_form(policy.model, 20) == "fused"
    fused = logprobs_of(policy, prompts, ids, lengths, GROUP)[0]
    fused_grads = gradients(policy, fused.sum())
    policy.model.set_attn_implementation("eager")
    assert shared_form(policy.model, 20) == "copied"
    copied = logprobs_of(policy, prompts, ids, lengths, GROUP)[0]
    torch.testing.assert_close(copied, fused, rtol=1e-5, atol=1e-5)
    for name, grad in gradients(policy, copied.sum()).items():
        assert (grad - fused_grads[name]).norm() <= 1e-5 * fused_grads[name].norm() + 1e-5, name


def test_what_cannot_share_runs_in_full():
    assert shared_form(build_policy("mistral").model, 20) is None  # window of 6
    assert shared_form(build_policy("mistral").model, 6) == "fused"
    checkpointed = build_policy("llama").model
    checkpointed.gradient_checkpointing_enable()
    assert shared_form(checkpointed.train(), 20) is None


def test_bfloat16_weights_give_float32_logprobs_near_those_of_float32():
    prompts = build_prompts(LENGTHS)
    ids, lengths = build_completions()
    low, high = (build_policy("llama", dtype=dtype) for dtype in (torch.bfloat16, torch.float32))
    high.model.load_state_dict(low.model.state_dict())
    got, _ = logprobs_of(low, prompts, ids, lengths, GROUP)
    expected, _ = logprobs_of(high, prompts, ids, lengths, GROUP)
    assert got.dtype == torch.float32
    assert (got - expected).abs().mean() < 0.05
    got.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in low.model.parameters())


@pytest.mark.parametrize("share_prompts", [True, False])
def test_under_autocast_the_sums_over_the_vocabulary_stay_float32(share_prompts):
    policy, prompts = build_policy("llama"), build_prompts(LENGTHS)
    ids, lengths = build_completions()
    exact, exact_entropy = logprobs_of(policy, prompts, ids, lengths, GROUP, with_entropy=True)
    with torch.autocast("cpu", torch.bfloat16):
        got, entropy = logprobs_of(policy, prompts, ids, lengths, GROUP, with_entropy=True, share_prompts=share_prompts)
    assert got.dtype == entropy.dtype == torch.float32
    assert 0 < (got - exact).abs().mean() < 0.05
    assert (entropy - exact_entropy).abs().mean() < 0.05
    got.sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in policy.model.parameters())


def test_rows_with_zero_weight_in_calls_of_their_own_leave_gradients_bit_equal():
    policy, prompts = build_policy("llama"), build_prompts(LENGTHS)
    ids, lengths = build_completions()
    active, idle = torch.arange(6), torch.arange(6, 9)
    alone = gradients(policy, logprobs_of(policy, prompts, ids, lengths, GROUP, rows=active)[0].sum())
    policy.model.zero_grad()
    for rows, weight in ((active, 1.0), (idle, 0.0)):
        (logprobs_of(policy, prompts, ids, lengths, GROUP, rows=rows)[0] * weight).sum().backward()
    for name, parameter in policy.model.named_parameters():
        assert parameter.grad.equal(alone[name]), name


def test_chunks_of_the_head_do_not_change_the_result():
    policy, prompts = build_policy("qwen2"), build_prompts(LENGTHS)
    ids, lengths = build_completions()
    whole = logprobs_of(policy, prompts, ids, lengths, GROUP, with_entropy=True)
    chunked = logprobs_of(policy, prompts, ids, lengths, GROUP, with_entropy=True, chunk=(3, 5))
    torch.testing.assert_close(chunked, whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("share_prompts", [True, False])
def test_adapters_take_part_in_the_forward(share_prompts):
    peft = pytest.importorskip("peft")
    policy, prompts = build_policy("llama"), build_prompts(LENGTHS)
    ids, lengths = build_completions()
    settings = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    policy.model = peft.get_peft_model(policy.model, settings)
    expected, _ = one_by_one(policy, prompts, ids, lengths)
    got, _ = logprobs_of(policy, prompts, ids, lengths, GROUP, share_prompts=share_prompts)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    got.sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0
        for name, parameter in policy.model.named_parameters()
        if "lora" in name
    )


@pytest.mark.parametrize(
    ("form", "device", "prompt", "completion", "full"),
    [
        ("copied", "cuda", 200, 1000, True),  # flash attention needs a forward without a mask
        ("copied", "cuda", 1000, 200, False),  # running prompts once per member would cost more
        ("fused", "cpu", 200, 1000, False),
        ("copied", "cpu", 200, 1000, False),
    ],
)
def test_rows_run_in_full_on_a_gpu_unless_prompts_are_longer_than_completions(form, device, prompt, completion, full):
    assert runs_in_full(form, torch.device(device), prompt, completion) is full


def test_a_gpu_takes_the_head_in_larger_chunks():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert usual_chunk(cpu, 151_936, 16_384) == (2**10, 2**10)
    assert usual_chunk(cpu, 151_936, 100) == (100, 2**10)
    assert usual_chunk(cpu, 320, 16_384) == (3276, 320)
    assert usual_chunk(gpu, 151_936, 16_384) == (2**13, 2**14)
    assert usual_chunk(gpu, 151_936, 256) == (256, 151_936)
    assert usual_chunk(gpu, 151_936, 0) == (1, 151_936)
    assert chunk_entries(cpu) == 2**20
    assert chunk_entries(gpu) == 2**27


def test_plain_rows_reach_the_attention_kernel_without_a_mask(monkeypatch):
    """A mask would keep a GPU from flash attention."""
    seen = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def noted(*given, attn_mask=None, is_causal=False, **named):
        seen.append((attn_mask is None, is_causal))
        return attend(*given, attn_mask=attn_mask, is_causal=is_causal, **named)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noted)
    monkeypatch.setattr(scoring, "runs_in_full", lambda *given: True)
    ids, lengths = build_completions()
    with torch.autocast("cpu", torch.bfloat16):
        logprobs_of(build_policy("llama"), build_prompts(LENGTHS), ids, lengths, GROUP)
    assert set(seen) == {(True, True)}
