"""vLLM's engine inside this process: starting it without weights, loading them in place, asking it, ending it."""

from __future__ import annotations

import copy
import gc
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gainrl.types import SamplingParams

# The engine's core and its worker run in this process: weights change hands without a copy through a pipe, and nothing
# is left behind when the process ends, however it ends.
_ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
_VERSION = "gainrl_version"
# Blocks of 32 tokens, since those of 128 leave short prompts unshared. Prompts in one piece, since the random numbers
# of a request with a seed cannot be taken back on a CPU, which vLLM does where a prompt is cut.
_ON_CPU = {"block_size": 32, "enable_chunked_prefill": False}
# Tokens of one forward at most: vLLM keeps room for their activations.
BATCHED_ON_CPU, BATCHED_ON_GPU = 8192, 4096


@dataclass(slots=True)
class Server:
    """A running vLLM and what is done with it; ``llm`` is a ``vllm.LLM``.

    ``sleeps``: whether it gives back its memory in `rest`. ``adopts``: whether the process group was there before it.
    """

    llm: Any
    sleeps: bool = False
    adopts: bool = False
    asleep: bool = False

    @property
    def meets(self) -> bool:
        """Whether the processes that train must load weights together."""
        return False

    def holds(self, version: int) -> bool:
        """Whether the weights are of this version, as all processes agree."""
        return self.version == version

    @property
    def version(self) -> int | None:
        """The version of the weights that it holds; None before any were loaded, and while it sleeps."""
        if self.asleep:
            return None
        return self.llm.apply_model(_noted_version)[0]

    def load(self, weights: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Replaces all weights in place; what the prefix cache holds of the old ones is dropped first.

        Raises RuntimeError if the cache cannot be dropped.
        """
        if self.asleep:
            self.llm.wake_up(["weights"])  # the cache's memory comes last, when no weight travels any more
        elif not self.llm.reset_prefix_cache():
            raise RuntimeError("vLLM could not empty its prefix cache, which holds keys and values of older weights")
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
        self.llm.apply_model(lambda model: setattr(model, _VERSION, version))
        if self.asleep:
            self.llm.wake_up(["kv_cache"])
            self.llm.reset_prefix_cache()
            self.asleep = False

    def complete(
        self,
        requests: Sequence[Sequence[int]],
        sampling: SamplingParams,
        seeds: Sequence[int],
        stop_ids: Sequence[int],
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Token ids and log-probabilities of one completion per request, in their order."""
        import vllm

        settings = [
            vllm.SamplingParams(
                max_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                seed=seed,
                stop_token_ids=list(stop_ids),
                ignore_eos=True,  # the policy's stop ids decide alone
                logprobs=0,  # of the token drawn
                detokenize=False,
            )
            for seed in seeds
        ]
        outputs = self.llm.generate(
            [{"prompt_token_ids": list(ids)} for ids in requests], sampling_params=settings, use_tqdm=False
        )
        drawn = [output.outputs[0] for output in outputs]
        completions = [list(one.token_ids) for one in drawn]
        logprobs = [
            [position[token].logprob for token, position in zip(ids, one.logprobs, strict=True)]
            for ids, one in zip(completions, drawn, strict=True)
        ]
        return completions, logprobs

    def rest(self) -> None:
        """Gives back the memory of weights and cache; the next `load` wakes it."""
        if self.sleeps and not self.asleep:
            self.llm.sleep(level=2)
            self.asleep = True

    def close(self) -> None:
        """Ends the engine, and the process group if it opened it: one that was there before belongs to the trainer."""
        client = self.llm.llm_engine.engine_core
        if self.adopts:
            _close_around_group(client.engine_core)
        else:
            client.shutdown()
        self.llm = None


def _close_around_group(core: Any) -> None:
    """What vLLM's own shutdown does, without destroying the process group of `torch.distributed`."""
    from vllm.distributed import parallel_state

    core.structured_output_manager.clear_backend()
    core.model_executor.shutdown()
    core.scheduler.shutdown()
    gc.unfreeze()
    parallel_state.destroy_model_parallel()
    if parallel_state._WORLD is not None:
        parallel_state._WORLD.destroy()  # its own groups beside the trainer's
        parallel_state._WORLD = None
    gc.collect()


def start_server(
    model: Any,
    *,
    device: torch.device,
    dtype: torch.dtype,
    memory_gib: float | None,
    memory_share: float,
    max_batch_size: int,
    max_length: int | None = None,
    sleep: bool = False,
    eager: bool,
) -> Server:
    """Starts vLLM for a model's configuration, with weights of no meaning until the first `Server.load`.

    Where several processes train, each has a vLLM of its own, which adopts their process group. Raises ValueError where
    vLLM has no way to run such a model, with its reason.
    """
    os.environ.update(_ENVIRONMENT)
    adopts = dist.is_available() and dist.is_initialized()
    if adopts:  # Lightning sets none of them but the second
        local = device.index if device.index is not None else int(os.environ.get("LOCAL_RANK", 0))
        names = {"RANK": dist.get_rank(), "LOCAL_RANK": local, "WORLD_SIZE": dist.get_world_size()}
        os.environ.update({name: str(value) for name, value in names.items()})
    import vllm

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = copy.deepcopy(base.config)
    config.architectures = [type(base).__name__]  # a model that was never saved does not say
    # Weights that are loaded in place reach only one of two tied layers: the output layer becomes one of its own.
    config.get_text_config().tie_word_embeddings = config.tie_word_embeddings = False
    longest = min(max_length or sys.maxsize, config.get_text_config().max_position_embeddings)
    on_cpu = device.type == "cpu"
    set_num_threads = torch.set_num_threads  # vLLM's CPU worker switches it off for the whole process
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        try:
            llm = vllm.LLM(
                folder,
                skip_tokenizer_init=True,
                load_format="dummy",
                dtype=str(dtype).removeprefix("torch."),
                seed=0,
                max_num_seqs=max_batch_size,
                max_logprobs=1,
                logprobs_mode="processed_logprobs",
                generation_config="vllm",  # none of the sampling defaults that a model carries
                enable_prefix_caching=True,
                max_model_len=longest,
                **(_ON_CPU if on_cpu else {}),
                max_num_batched_tokens=max(BATCHED_ON_CPU, longest) if on_cpu else BATCHED_ON_GPU,
                **({"distributed_executor_backend": "external_launcher"} if adopts else {}),
                enable_sleep_mode=sleep,
                enforce_eager=eager,
                gpu_memory_utilization=memory_share,
                kv_cache_memory_bytes=None if memory_gib is None else int(memory_gib * 2**30),
                disable_log_stats=True,
            )
        except (ValueError, NotImplementedError) as fault:
            raise ValueError(
                f"vLLM cannot run {type(base).__name__} on {device.type}: {fault}; type rollout=hf"
            ) from fault
        finally:
            torch.set_num_threads = set_num_threads
    return Server(llm, sleeps=sleep, adopts=adopts)


def _noted_version(model: Any) -> int | None:
    return getattr(model, _VERSION, None)
