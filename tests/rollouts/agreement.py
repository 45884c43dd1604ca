"""What every engine must do, as checks that take the engine: the real ones run them where they can."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import chisquare

from gainrl.functional.streams import stream_key
from gainrl.rollouts.hf import HFEngine
from gainrl.types import FinishReason, Policy, PromptTokens, RolloutEngine, SamplingParams


def keys_for(count: int) -> torch.Tensor:
    return torch.tensor([stream_key(0, "test", index) for index in range(count)])


def completions(rollout) -> list[list[int]]:
    return [ids[:length].tolist() for ids, length in zip(rollout.completion_ids, rollout.lengths, strict=True)]


def check_greedy(
    engine: RolloutEngine, policy: Policy, prompts: list[PromptTokens], *, room: int = 12
) -> set[FinishReason]:
    """Token for token what `hf` writes, with the same log-probs and finish reasons; returns the reasons seen."""
    sampling = SamplingParams(group_size=2, max_new_tokens=room, temperature=0.0)
    keys = keys_for(len(prompts))
    expected = HFEngine().generate(policy, prompts, sampling, keys)
    found = engine.generate(policy, prompts, sampling, keys)
    assert completions(found) == completions(expected)
    assert found.finish_reasons == expected.finish_reasons
    assert found.completion_ids.shape == expected.completion_ids.shape
    torch.testing.assert_close(found.sampling_logprobs, expected.sampling_logprobs, rtol=1e-4, atol=1e-4)
    return set(found.finish_reasons)


def check_distribution(engine: RolloutEngine, policy: Policy, prompt: PromptTokens, *, count: int, **settings) -> None:
    """First tokens, and second ones after the most frequent first, against the exact distribution (chi-square)."""
    sampling = SamplingParams(group_size=count, max_new_tokens=2, **settings)
    stopless = Policy(policy.model, policy.tokenizer, stop_ids=(), pad_id=policy.pad_id)
    ids = engine.generate(stopless, [prompt], sampling, keys_for(1)).completion_ids.numpy()
    assert ids.shape == (count, 2)
    first = np.bincount(ids[:, 0]).argmax()
    for prefix, drawn in (([], ids[:, 0]), ([first], ids[ids[:, 0] == first, 1])):
        expected = exact(policy, [*prompt.ids, *prefix], sampling)
        counts = np.bincount(drawn, minlength=len(expected)).astype(float)
        assert counts[expected == 0].sum() == 0, "a token that top_p or top_k cuts was drawn"
        likely = expected * len(drawn) >= 5
        counts, expected = (np.append(x[likely], x[~likely].sum()) for x in (counts, expected * len(drawn)))
        if expected[-1] < 5:  # too rare for the approximation: with its likeliest companion
            counts, expected = (np.append(x[:-2], x[-2:].sum()) for x in (counts, expected))
        assert chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3


def exact(policy: Policy, ids: list[int], sampling: SamplingParams) -> np.ndarray:
    """The distribution of the next token, cut by top_k and then top_p, token by token."""
    with torch.no_grad():
        logits = policy.model(torch.tensor([ids])).logits[0, -1].double() / sampling.temperature
    probabilities = logits.softmax(-1).numpy()
    order = np.argsort(-probabilities, kind="stable")
    kept = order[: sampling.top_k] if sampling.top_k else order
    shares = probabilities[kept] / probabilities[kept].sum()
    before = np.cumsum(shares) - shares
    kept = kept[before < sampling.top_p]
    cut = np.zeros_like(probabilities)
    cut[kept] = probabilities[kept] / probabilities[kept].sum()
    return cut
