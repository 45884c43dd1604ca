import math
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from gainrl.functional import logprobs
from gainrl.functional.logprobs import chunked_logprobs, entropies, selective_logprobs, tensor_cores


def test_a_uniform_distribution_has_the_logarithm_of_its_size():
    logits = torch.zeros(2, 8)
    torch.testing.assert_close(selective_logprobs(logits, torch.tensor([0, 7])), torch.full((2,), -math.log(8)))
    torch.testing.assert_close(entropies(logits), torch.full((2,), math.log(8)))


def test_temperature_divides_the_logits():
    logits = torch.tensor([[math.log(9.0), 0.0]])  # at temperature 2 the odds are sqrt(9) = 3 to 1
    torch.testing.assert_close(
        selective_logprobs(logits, torch.tensor([0]), temperature=2.0), torch.tensor([math.log(0.75)])
    )


def test_bfloat16_logits_are_summed_in_float32():
    logits = torch.randn(4, 50_000, generator=torch.Generator().manual_seed(0)).bfloat16()
    exact = logits.double().log_softmax(-1)[:, 3]
    got = selective_logprobs(logits, torch.full((4,), 3))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), exact, rtol=0, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(0, 7),
    chunk=st.tuples(st.integers(1, 9), st.integers(1, 13)),
    softcap=st.sampled_from([None, 2.0]),
    with_bias=st.booleans(),
    temperature=st.sampled_from([1.0, 0.6]),
    seed=st.integers(0, 5),
)
def test_chunks_give_the_values_and_gradients_of_full_logits(count, chunk, softcap, with_bias, temperature, seed):
    source = torch.Generator().manual_seed(seed)
    hidden, weight, bias = (torch.randn(*shape, generator=source) for shape in [(count, 6), (11, 6), (11,)])
    leaves = [leaf.requires_grad_() for leaf in ([hidden, weight, bias] if with_bias else [hidden, weight])]
    ids = torch.randint(0, 11, (count,), generator=source)
    up = torch.randn(2, count, generator=source)

    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    logits = exact[0] @ exact[1].T + (exact[2] if with_bias else 0.0)
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    table = (logits / temperature).log_softmax(-1)
    expected = table.gather(1, ids[:, None]).squeeze(1), -(table.exp() * table).sum(-1)
    expected_grads = torch.autograd.grad((up[0] * expected[0] + up[1] * expected[1]).sum(), exact)

    got = chunked_logprobs(
        hidden,
        weight,
        ids,
        bias=bias if with_bias else None,
        temperature=temperature,
        chunk=chunk,
        softcap=softcap,
    )
    got_grads = torch.autograd.grad((up[0] * got[0] + up[1] * got[1]).sum(), leaves)
    for found, wanted in zip((*got, *got_grads), (*expected, *expected_grads), strict=True):
        assert (found - wanted).norm() <= 1e-5 * wanted.norm() + 3e-6


def test_large_logits_in_a_later_chunk_neither_overflow_nor_cancel():
    logits = torch.tensor([[0.0, -900.0, 3e4, 3e4 - 1.0], [3e4, 0.0, 1.0, 2.0]])
    ids = torch.tensor([3, 0])
    got = chunked_logprobs(logits, torch.eye(4), ids, chunk=(1, 2))
    log_p = logits.double().log_softmax(-1)
    torch.testing.assert_close(got[0].double(), log_p.gather(1, ids[:, None]).squeeze(1), rtol=0, atol=1e-4)
    torch.testing.assert_close(got[1].double(), -(log_p.exp() * log_p).sum(-1), rtol=0, atol=1e-6)


def test_a_bias_of_minus_infinity_takes_a_chunk_of_tokens_out():
    hidden, weight = torch.randn(5, 4, requires_grad=True), torch.randn(12, 4, requires_grad=True)
    bias = torch.cat([torch.zeros(8), torch.full((4,), -torch.inf)])
    ids = torch.tensor([0, 7, 3, 3, 1])
    got = chunked_logprobs(hidden, weight, ids, bias=bias, chunk=(2, 4))
    kept = chunked_logprobs(hidden, weight[:8], ids, chunk=(2, 4))
    torch.testing.assert_close(got, kept)
    (grad,) = torch.autograd.grad(got[0].sum(), weight)
    torch.testing.assert_close(grad, torch.autograd.grad(kept[0].sum(), weight)[0])


@pytest.mark.parametrize("output", [0, 1])
def test_one_output_alone_has_the_gradients_that_it_has_beside_the_other(output):
    hidden, weight = torch.randn(5, 4, requires_grad=True), torch.randn(7, 4, requires_grad=True)
    found = chunked_logprobs(hidden, weight, torch.tensor([0, 6, 3, 3, 1]), chunk=(2, 3))
    alone = torch.autograd.grad(found[output].sum(), (hidden, weight), retain_graph=True)
    both = torch.autograd.grad(found[output].sum() + 0 * found[1 - output].sum(), (hidden, weight))
    torch.testing.assert_close(alone, both)


def test_an_id_outside_the_vocabulary_is_not_a_number():
    found, _ = chunked_logprobs(torch.randn(3, 4), torch.randn(12, 4), torch.tensor([0, 12, -1]), chunk=(3, 5))
    assert found.isnan().tolist() == [False, True, True]


def test_bfloat16_in_many_chunks_is_as_near_as_in_one():
    hidden, weight = torch.randn(40, 16), torch.randn(90, 16)
    ids, up = torch.randint(0, 90, (40,)), torch.randn(40)

    def gradients(dtype, chunk):
        leaves = [leaf.to(dtype).requires_grad_() for leaf in (hidden, weight)]
        found, _ = chunked_logprobs(*leaves, ids, chunk=chunk)
        return [grad.float() for grad in torch.autograd.grad((found * up).sum(), leaves)]

    exact = gradients(torch.float32, (40, 90))
    errors = [
        max(
            float((low - full).norm() / full.norm())
            for low, full in zip(gradients(torch.bfloat16, chunk), exact, strict=True)
        )
        for chunk in ((40, 90), (7, 8))
    ]
    assert errors[1] < 1.5 * errors[0] < 0.03


def test_no_more_logits_exist_than_a_chunk_has():
    hidden, weight = torch.randn(60, 2, requires_grad=True), torch.randn(70, 2, requires_grad=True)
    sizes = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            sizes.append(made.numel() if isinstance(made, torch.Tensor) else 0)
            return made

    with Sizes():
        logprobs, entropy = chunked_logprobs(hidden, weight, torch.zeros(60, dtype=torch.int64), chunk=(20, 10))
        (logprobs.sum() + entropy.sum()).backward()
    assert max(sizes) == 2 * 20 * 10  # logits and probabilities


def test_gradients_reach_only_what_wants_them():
    hidden, weight = torch.randn(3, 4), torch.randn(5, 4, requires_grad=True)
    logprobs, _ = chunked_logprobs(hidden, weight, torch.tensor([0, 1, 2]), chunk=(2, 3))
    logprobs.sum().backward()
    assert hidden.grad is None
    assert weight.grad is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [({"temperature": 0.0}, "temperature"), ({"chunk": (2, 0)}, "chunk"), ({"softcap": -1.0}, "softcap")],
)
def test_settings_out_of_range_are_refused(change, said):
    arguments = {"chunk": (2, 2)} | change
    with pytest.raises(ValueError, match=said):
        chunked_logprobs(torch.zeros(1, 2), torch.zeros(3, 2), torch.tensor([0]), **arguments)


@pytest.mark.parametrize(
    ("device", "mixed", "inside"), [("cuda", True, "high"), ("cuda", False, "highest"), ("cpu", True, "highest")]
)
def test_tensor_cores_serve_mixed_precision_on_a_gpu_alone(device, mixed, inside):
    with tensor_cores(torch.device(device), mixed):
        assert torch.get_float32_matmul_precision() == inside
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("mixed", [True, False])
def test_both_passes_of_the_head_use_the_tensor_cores_of_mixed_precision(monkeypatch, mixed):
    asked = []
    monkeypatch.setattr(
        logprobs, "tensor_cores", lambda device, mixed: asked.append((device.type, mixed)) or nullcontext()
    )
    hidden, weight = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        found, _ = chunked_logprobs(hidden, weight, torch.tensor([0, 1, 2]), chunk=(2, 3))
    found.sum().backward()
    assert asked == [("cpu", mixed)] * 2
