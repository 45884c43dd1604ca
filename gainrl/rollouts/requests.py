"""What every engine does with what it is asked for and with what it gives back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gainrl.rollouts.sampling import validate_sampling
from gainrl.types import FinishReason, Policy, PromptTokens, Rollout, SamplingParams


def check_request(prompts: Sequence[PromptTokens], sampling: SamplingParams, keys: Tensor) -> None:
    """Raises ValueError for settings out of range, no prompts, an empty prompt, or keys that do not match."""
    validate_sampling(sampling)
    if not prompts:
        raise ValueError("no prompts were given: a rollout needs at least one")
    if keys.shape != (len(prompts),):
        raise ValueError(f"keys has shape {tuple(keys.shape)} for {len(prompts)} prompts: give one key per prompt")
    for index, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {index} has no tokens: a model needs at least one to continue from")


def tempered_only(sampling: SamplingParams) -> bool:
    """Whether the density of the draw is that of the tempered softmax, which the training forward computes."""
    return sampling.top_p == 1 and sampling.top_k == 0


def assemble_rollout(
    policy: Policy,
    prompts: Sequence[PromptTokens],
    group_size: int,
    completions: Sequence[Sequence[int]],
    logprobs: Sequence[Sequence[float]] | None = None,
    version: int | None = None,
) -> Rollout:
    """A `Rollout` of ``B`` prompt-major completions given as lists of ids; one that ends with a stop id was stopped.

    ``logprobs``: one number per token, or None. Raises RuntimeError where the lists do not have these sizes.
    """
    rows = len(prompts) * group_size
    if len(completions) != rows or not all(completions):
        raise RuntimeError(
            f"the engine gave {sum(map(bool, completions))} completions with tokens for {len(prompts)} prompts of "
            f"group_size={group_size}; {rows} were asked for"
        )
    lengths = torch.tensor([len(ids) for ids in completions])
    width = int(lengths.max())
    ids_BT = torch.full((rows, width), policy.pad_id, dtype=torch.int64)
    logprobs_BT = None if logprobs is None else torch.zeros(rows, width, dtype=torch.float32)
    for row, ids in enumerate(completions):
        ids_BT[row, : len(ids)] = torch.tensor(list(ids))
        if logprobs_BT is not None and logprobs is not None:
            if len(logprobs[row]) != len(ids):
                raise RuntimeError(f"completion {row}: {len(logprobs[row])} log-probs for {len(ids)} tokens")
            logprobs_BT[row, : len(ids)] = torch.tensor(list(logprobs[row]))
    device = policy.device
    stops = set(policy.stop_ids)
    return Rollout(
        prompts=list(prompts),
        group_size=group_size,
        completion_ids=ids_BT.to(device),
        lengths=lengths.to(device),
        finish_reasons=[FinishReason.STOP if ids[-1] in stops else FinishReason.LENGTH for ids in completions],
        sampling_logprobs=None if logprobs_BT is None else logprobs_BT.to(device),
        version=version,
    )
