"""The peak of memory: what a run is expected to need, and what it needed."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gainrl.functional.footprint import BatchSizes, Footprint, ModelSizes, footprint
from gainrl.models.four_bit import count, in_four_bits
from gainrl.models.scoring import chunk_entries
from gainrl.models.shared_prompts import shared_form
from gainrl.rollouts.vllm_server import BATCHED_ON_CPU, BATCHED_ON_GPU
from gainrl.training.algorithm import ReplaySettings
from gainrl.training.grpo import GRPOModule

_LOW = 2
_BYTES = {"float32": 4, "bfloat16": _LOW, "float16": _LOW}
# Share of a turn's tensors that glibc keeps beside them, in blocks too small for what comes next, since freed memory
# stays with the process (`app.runtime`). Measured: .2 to .4 of what runs of 80 to 100 steps hold on a CPU. A GPU counts
# tensors alone.
_GAPS = 0.3
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def model_sizes(model: Any) -> ModelSizes:
    """The sizes of a transformers model, which may be without memory (on the device ``meta``)."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None) or 0  # models such as Mamba have none, and no cache of keys
    width = config.hidden_size
    head_width = getattr(config, "head_dim", None) or (width // heads if heads else 0)
    head = model.get_output_embeddings()
    ends = {id(head.weight)} if head is not None else set()
    linear = {
        id(weight): count(weight)
        for module in model.modules()
        if isinstance(module, nn.Linear)
        for weight in module.parameters(recurse=False)
        if id(weight) not in ends
    }
    return ModelSizes(
        parameters=sum(map(count, model.parameters())),
        trained=sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        linear=sum(linear.values()),
        packed=sum(map(count, in_four_bits(model))),
        layers=config.num_hidden_layers,
        hidden_width=width,
        inner_width=getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * width,
        key_value_width=(getattr(config, "num_key_value_heads", None) or heads) * head_width,
        vocabulary=config.vocab_size,
        tied=head is not None and head.weight is model.get_input_embeddings().weight,
        bytes_per_float=next(model.parameters()).element_size(),
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run is laid out on its devices.

    ``mixed``: autocast to bfloat16; ``pure``: bfloat16 throughout, beside float32 weights that train; ``cuda``: whether
    on GPUs, of ``device_bytes`` each; ``shards``: ranks that share what trains.
    """

    shards: int = 1
    mixed: bool = False
    pure: bool = False
    cuda: bool = False
    device_bytes: int | None = None


def expected_footprint(
    module: GRPOModule, prompt_tokens: int, plan: Plan = Plan(), evaluated: Mapping[int, int] | None = None
) -> Footprint:
    """What training will hold at its peak if prompts have ``prompt_tokens``; see `functional.footprint`.

    ``evaluated``: completions of an evaluation by the size of their groups. On a GPU it decodes as many as fit, so they
    count on a CPU alone.
    """
    group_size, completion = module.sampling.group_size, module.sampling.max_new_tokens
    prompts, replay = module.prompts_per_step, module.algorithm.replay
    if replay is not None:
        prompts += ReplaySettings(**replay).prompts_of(prompts)
    step = prompts * (prompt_tokens + group_size * completion)
    completions = module.prompts_per_step * group_size
    at_once = getattr(module.engine, "max_batch_size", completions)
    own_trunk = module.critic is not None and module.critic.trunk is not None
    checkpointing = any(getattr(part, "gradient_checkpointing", False) for part in module.model.modules())
    form = shared_form(module.model, prompt_tokens + completion)
    in_full = plan.shards > 1 or form is None or (plan.cuda and prompt_tokens <= completion)
    # The limit counts a prompt once per group; rows that run in full run it once per completion.
    repeated = group_size * (prompt_tokens + completion) / (prompt_tokens + group_size * completion) if in_full else 1
    sizes = model_sizes(module.model)
    batch = BatchSizes(
        micro_batch_tokens=round(repeated * min(module.limits.tokens, step)),
        chunk_entries=chunk_entries(torch.device("cuda" if plan.cuda else "cpu")),
        decoding=min(at_once, completions),
        evaluated={} if plan.cuda else {size: min(at_once, rows) for size, rows in (evaluated or {}).items()},
        gaps=0.0 if plan.cuda else _GAPS,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion,
        group_size=group_size,
        reference=module.reference is not None and not hasattr(module.model, "disable_adapter"),
        moving=module.algorithm.reference_sync is not None,
        trunks=int(own_trunk),
        mixed=plan.mixed,
        pure=plan.pure,
        shards=plan.shards,
        foreach=plan.cuda,
        checkpointing=checkpointing,
        **engine_sizes(module.engine, sizes, plan),
    )
    return footprint(sizes, batch)


def engine_sizes(engine: Any, model: ModelSizes, plan: Plan) -> dict[str, Any]:
    """What `BatchSizes` says of an engine.

    vLLM fills its share of the device, or takes its weights, with an output layer of their own, the room asked for, and
    room for the tokens of one forward. On a CPU it keeps the linear layers in bfloat16 twice, once as its kernels want
    them.
    """
    if not hasattr(engine, "take_weights"):
        return {}
    if engine.server is not None:
        return {"engine": "server"}
    if engine.memory_gib is None:
        taken = engine.memory_share * (plan.device_bytes or _host_bytes())
    else:
        trained = _LOW if plan.mixed or plan.pure else model.bytes_per_float
        size = _BYTES.get(engine.dtype, trained)
        numbers = model.parameters + (model.vocabulary * model.hidden_width if model.tied else 0)
        if plan.cuda:
            numbers += BATCHED_ON_GPU * (model.hidden_width + model.floats_of_forward)
        else:
            numbers += BATCHED_ON_CPU * model.hidden_width + (model.linear if size == _LOW else 0)
        taken = numbers * size + engine.memory_gib * 2**30
    return {"engine": "vllm", "engine_bytes": int(taken), "engine_sleeps": engine.sleep is not False and plan.cuda}


def _host_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class PeakMemory:
    """The most bytes held since `begin`: on the GPU where ``cuda``, else by this process.

    ``before``: what was held already. Where the system cannot forget an earlier peak of the process (other than Linux),
    the peak is that of its whole life.
    """

    def __init__(self, *, cuda: bool) -> None:
        self.cuda = cuda
        self.before = 0

    def begin(self) -> None:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
            return
        with contextlib.suppress(OSError):
            _RESET.write_text("5")  # proc(5): the peak becomes what is resident now
        self.before = _status("VmRSS") or 0

    def most(self) -> int:
        """The peak in bytes, what was there before included."""
        if self.cuda:
            return torch.cuda.max_memory_allocated()
        unit = 1 if sys.platform == "darwin" else 1024
        return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int | None:
    """A size of this process in bytes, None where the system has no such file."""
    if not _STATUS.exists():
        return None
    lines = [line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(lines[0].split()[1]) * 1024 if lines else None
