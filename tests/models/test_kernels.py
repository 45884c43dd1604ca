import pytest
import torch

from gainrl.models import kernels
from gainrl.models.kernels import check_liger, compile_decoder, patch_with_liger
from gainrl.models.scoring import completion_scores
from tests.architectures import build_policy, build_prompts


def test_liger_without_a_gpu_is_refused_with_what_to_type(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"CUDA GPU.*trainer\.liger=false"):
        patch_with_liger(build_policy("llama").model)


def test_liger_that_is_not_installed_is_refused_with_what_to_type(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'gainrl\[liger\]'"):
        check_liger()


def test_completions_run_through_the_compiled_decoder(monkeypatch):
    compiled = []

    class Compiled:
        """As `torch.compile` gives it back: a module whose truth value would be a length that it does not have."""

        def __init__(self, module, **settings):
            self.module = module

        def __len__(self):
            raise TypeError(f"{type(self.module).__name__} does not support len()")

        def __call__(self, *arguments, **named):
            compiled.append(named["input_ids"].shape[0])
            return self.module(*arguments, **named)

    monkeypatch.setattr(torch, "compile", Compiled)
    policy, prompts = build_policy("llama"), build_prompts([4, 6])
    ids, lengths = torch.randint(6, 20, (4, 5)), torch.tensor([5, 3, 2, 5])
    plain = completion_scores(policy, prompts, ids, lengths, 2).logprobs
    compile_decoder(policy)
    assert completion_scores(policy, prompts, ids, lengths, 2).logprobs.equal(plain)
    assert compiled == [4]  # the completions; their prompts run before, where hooks read hidden states


@pytest.mark.slow
def test_log_probs_and_gradients_of_the_compiled_decoder_are_those_of_the_plain_one(monkeypatch):
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **settings: real(module, backend="aot_eager", **settings))
    prompts, ids, lengths = build_prompts([4, 6]), torch.randint(6, 20, (4, 5)), torch.tensor([5, 3, 2, 5])
    found = []
    for compiled in (False, True):
        policy = build_policy("llama")
        if compiled:
            compile_decoder(policy)
        scores = completion_scores(policy, prompts, ids, lengths, 2).logprobs
        scores.sum().backward()
        found.append([scores.detach(), *(weight.grad for weight in policy.model.parameters())])
    for plain, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)
