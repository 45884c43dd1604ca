"""Rollouts with the training weights through transformers' continuous batching and its paged key-value cache.

Requests of different lengths go through the model as one packed row of tokens, without padding, and a finished one
makes room for the next. A group's prompt runs once and is forked. With flash attention (a GPU) the cost is that of the
tokens; without it every token of a step is scored against the cache of all requests of the step, so that the cost of a
step grows with the square of the batch: on a CPU, `hf` is the faster engine by far.

What is guaranteed: greedy completions are those of `hf` up to rounding, and sampled ones have the same distribution.
Draws come from one generator, seeded for each call from the keys of all its prompts: the same call repeats its
completions, but a prompt's completions depend on the other prompts of the call.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation import configuration_utils

from gainrl.rollouts.hf import generation_mode
from gainrl.rollouts.sampling import assemble_rollout, check_request, tempered_only
from gainrl.types import Policy, PromptTokens, Rollout, SamplingParams

_NEEDED = ("page_size", "num_blocks", "max_batch_tokens", "max_requests_per_batch", "return_logprobs", "seed")


class PagedEngine:
    """The `RolloutEngine` on ``generate_batch``'s machinery, with ``policy.model`` in its own precision and place.

    ``max_batch_size``: completions that decode at the same time. ``max_batch_tokens``: tokens that go through the model
    at once, decoding ones and pieces of prompts together. ``page_size``: tokens per block of the cache (flash attention
    wants multiples of 256). Raises ValueError for values out of range or a transformers without the settings needed.
    """

    def __init__(self, *, max_batch_size: int = 256, max_batch_tokens: int = 2048, page_size: int = 256) -> None:
        for name, value in (
            ("max_batch_size", max_batch_size),
            ("max_batch_tokens", max_batch_tokens),
            ("page_size", page_size),
        ):
            if value < 1:
                raise ValueError(f"rollout.engine.{name}={value} must be a whole number, 1 or more")
        settings = getattr(configuration_utils, "ContinuousBatchingConfig", None)
        known = inspect.signature(settings).parameters if settings is not None else {}
        missing = [name for name in _NEEDED if name not in known]
        if missing:
            raise ValueError(
                f"rollout=paged needs continuous batching with {', '.join(missing)}, which this transformers lacks; "
                "type pip install 'transformers>=5.23', or rollout=hf"
            )
        self.max_batch_size, self.max_batch_tokens, self.page_size = max_batch_size, max_batch_tokens, page_size

    def generate(
        self, policy: Policy, prompts: Sequence[PromptTokens], sampling: SamplingParams, keys: Tensor
    ) -> Rollout:
        """Draws ``group_size`` completions per prompt; see `RolloutEngine.generate` and the module's guarantees.

        Log-probabilities are returned where top_p and top_k are off: the engine's are those of the truncated softmax.
        Raises RuntimeError where the model cannot be served, with transformers' reason.
        """
        check_request(prompts, sampling, keys)
        if getattr(policy.model.config, "attn_logit_softcapping", None):
            # transformers' paged kernels leave the cap out: the log-probs would be those of another model.
            raise RuntimeError(_refusal(policy, "its attention scores are capped, which paged attention leaves out"))
        drawn = sampling.group_size if sampling.temperature > 0 else 1  # greedy members of a group are all the same
        with generation_mode(policy.model), torch.random.fork_rng(_devices(policy)):
            found = self._serve(policy, prompts, sampling, drawn, _seed_of(keys + sampling.first))
        ordered = [
            found[name]
            for place in range(len(prompts))
            for name in (f"req_{place}", *(f"req_{place}__child#{g}" for g in range(drawn - 1)))
            for _ in range(sampling.group_size // drawn)
        ]
        return assemble_rollout(
            policy,
            prompts,
            sampling.group_size,
            [output.generated_tokens for output in ordered],
            [output.logprobs for output in ordered] if tempered_only(sampling) else None,
        )

    def _serve(
        self, policy: Policy, prompts: Sequence[PromptTokens], sampling: SamplingParams, drawn: int, seed: int
    ) -> dict[str, Any]:
        """The outputs of ``drawn`` completions per prompt, by transformers' names for them.

        Each call has a manager of its own: the blocks that one shares between requests belong to one set of weights.
        """
        rows = len(prompts) * drawn
        together = min(rows, self.max_batch_size)
        longest = max(map(len, prompts)) + sampling.max_new_tokens
        settings = configuration_utils.ContinuousBatchingConfig(
            page_size=self.page_size,
            num_blocks=(together + 1) * (-(-longest // self.page_size) + 1),
            max_batch_tokens=max(self.max_batch_tokens, together),
            max_requests_per_batch=together,
            return_logprobs=True,
            seed=seed,
        )
        try:
            manager = policy.model.init_continuous_batching(
                generation_config=_generation_config(policy, sampling, drawn), continuous_batching_config=settings
            )
        except ValueError as fault:
            raise RuntimeError(_refusal(policy, str(fault))) from fault
        found: dict[str, Any] = {}
        try:
            # All requests are there before the loop starts, so that the order of the draws is always the same.
            manager.add_requests([list(prompt.ids) for prompt in prompts], max_new_tokens=sampling.max_new_tokens)
            manager.start()
            while len(found) < rows:
                output = manager.get_result(timeout=1)
                if output is not None and output.error is not None:
                    raise RuntimeError(_refusal(policy, output.error))
                if output is not None:
                    found[output.request_id] = output
                elif not manager.is_running():
                    raise RuntimeError(_refusal(policy, str(manager.background_thread_status.fatal_error)))
        finally:
            manager.stop(block=True, hard_stop=len(found) < rows)
            manager.destroy()
        return found


def _generation_config(policy: Policy, sampling: SamplingParams, drawn: int) -> GenerationConfig:
    cut = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        do_sample=sampling.temperature > 0,
        num_return_sequences=drawn,
        eos_token_id=list(policy.stop_ids) or -1,
        pad_token_id=policy.pad_id,
        **(cut if sampling.temperature > 0 else {}),
    )


def _refusal(policy: Policy, reason: str) -> str:
    return (
        f"transformers' continuous batching cannot serve {type(policy.model).__name__}: {reason}; "
        "type rollout=hf, which runs every causal model of transformers"
    )


def _seed_of(keys: Tensor) -> int:
    """A seed in 0 .. 2**31 - 1 that depends on every key and on their order."""
    digest = hashlib.blake2b(keys.cpu().numpy().astype("<i8").tobytes(), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1


def _devices(policy: Policy) -> list[torch.device]:
    return [policy.device] if policy.device.type == "cuda" else []
