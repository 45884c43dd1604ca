"""The memory that a run will need, known before a weight is loaded, and what to change if it is too much.

    python -m gainrl.app.fits

prints the table of docs/several_processes.md: the paper's models on GPUs of 80 GB.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from omegaconf import DictConfig

from gainrl.app.components import Components
from gainrl.app.errors import ConfigError
from gainrl.functional.footprint import Footprint, readable
from gainrl.models.hub import enable_checkpointing
from gainrl.models.lora import has_adapter
from gainrl.training.batching import MicroBatchLimits
from gainrl.training.upkeep.peak import Plan, expected_footprint
from gainrl.types import SamplingParams

# Share of a device; CUDA, NCCL and the allocator's gaps take the rest.
USABLE = 0.92


def check_fits(config: DictConfig, components: Components, prompt_tokens: int, plan: Plan) -> None:
    """Raises ConfigError, with changes that make it fit, where a run needs more than its devices have.

    Where the memory of the devices is not known (on a CPU), or the model has no skeleton, nothing is checked.
    """
    skeleton = getattr(components.model_source, "skeleton", None)
    if plan.device_bytes is None or skeleton is None:
        return
    run = planned_module(config, components, skeleton())
    needed, room = expected_footprint(run, prompt_tokens, plan), USABLE * plan.device_bytes
    if needed.peak <= room:
        return
    ways = [
        f"  {text}  ({readable(found.peak)})" for text, found in _ways(run, prompt_tokens, plan) if found.peak <= room
    ]
    raise ConfigError(
        f"this run needs {readable(needed.peak)} on each device, which has {readable(plan.device_bytes)} "
        f"({readable(needed.held)} for weights, gradients and optimizer). "
        + ("It would fit with\n" + "\n".join(ways) if ways else "No setting makes it fit; take a smaller model")
    )


def planned_module(config: DictConfig, components: Components, model: Any) -> Any:
    """A `GRPOModule` around a model without weights, with everything that decides its memory."""
    algorithm = components.algorithm
    needs_copy = algorithm.objective.needs_reference and not has_adapter(model)
    separate = algorithm.critic is not None and algorithm.critic.trunk == "separate"
    return SimpleNamespace(
        model=model,
        sampling=components.sampling,
        prompts_per_step=config.schedule.prompts_per_step,
        critic=SimpleNamespace(trunk=model) if separate else None,
        reference=model if needs_copy else None,
        limits=MicroBatchLimits(algorithm.micro_batch_tokens, algorithm.micro_batch_size),
        engine=components.engine,
        algorithm=algorithm,
    )


def _ways(run: Any, prompt_tokens: int, plan: Plan) -> Iterator[tuple[str, Footprint]]:
    """Changes that save memory, each with what a run would need with it; the cheapest first."""

    longest = prompt_tokens + run.sampling.max_new_tokens
    limit = run.limits.tokens
    while limit > longest:
        limit //= 2
        changed = copy.copy(run)
        changed.limits = MicroBatchLimits(limit, run.limits.completions)
        yield f"algorithm.micro_batch_tokens={limit}", expected_footprint(changed, prompt_tokens, plan)
    if run.model.supports_gradient_checkpointing:
        saving = copy.copy(run)
        saving.model = copy.deepcopy(run.model)
        enable_checkpointing(saving.model)
        yield "model.gradient_checkpointing=true", expected_footprint(saving, prompt_tokens, plan)
        if plan.shards == 1:
            for devices in (2, 4, 8):
                found = expected_footprint(saving, prompt_tokens, replace(plan, shards=devices))
                yield f"trainer=fsdp trainer.devices={devices} model.gradient_checkpointing=true", found
    if not plan.mixed:
        yield "trainer.precision=bf16-mixed", expected_footprint(run, prompt_tokens, replace(plan, mixed=True))
    if not plan.pure and run.critic is None and run.algorithm.critic is None:
        found = expected_footprint(run, prompt_tokens, replace(plan, mixed=False, pure=True))
        yield "trainer.precision=bf16-master", found


# Of the models' config.json on the hub: widths, layers, heads, heads of keys, whether the head is tied.
_QWEN = {
    "0.5B": (896, 4864, 24, 14, 2, True),
    "1.5B": (1536, 8960, 28, 12, 2, True),
    "3B": (2048, 11008, 36, 16, 2, True),
    "7B": (3584, 18944, 28, 28, 4, False),
}
_GPU = 80 * 10**9


def qwen(name: str) -> Any:
    """The configuration of a Qwen2.5 of a size that the paper trains."""
    from transformers import Qwen2Config

    width, inner, layers, heads, key_heads, tied = _QWEN[name]
    return Qwen2Config(
        vocab_size=151_936,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        tie_word_embeddings=tied,
    )


def shape(name: str) -> Any:
    """The same as a model without weights, which recomputes its layers in the backward pass."""
    from transformers import Qwen2ForCausalLM

    with torch.device("meta"):
        model = Qwen2ForCausalLM(qwen(name)).train()
    enable_checkpointing(model)
    return model


def needed(model: Any, *, engine: str, shards: int, adapter_rank: int = 0) -> Footprint:
    """Of a step of 128 prompts x 8 completions of 3072 tokens with a KL penalty, in bfloat16, on GPUs of 80 GB.

    ``engine``: ``hf``, ``vllm`` or ``server``. Several GPUs train in shards. Prompts have 512 tokens, micro-batches
    16,384; decoding by ``hf`` is 64 completions at a time.
    """
    owns = {"take_weights": None, "memory_gib": None, "memory_share": 0.5, "sleep": None}
    engines = {
        "hf": SimpleNamespace(max_batch_size=64),
        "vllm": SimpleNamespace(**owns, server=None),
        "server": SimpleNamespace(**owns, server="http://node7:8000"),
    }
    run: Any = SimpleNamespace(
        model=model,
        sampling=SamplingParams(group_size=8, max_new_tokens=3072),
        prompts_per_step=128,
        critic=None,
        reference=None if adapter_rank else model,
        limits=MicroBatchLimits(16_384),
        engine=engines[engine],
        algorithm=SimpleNamespace(reference_sync=None),
    )
    plan = Plan(shards=shards, mixed=True, cuda=True, device_bytes=_GPU)
    return expected_footprint(run, 512, plan)


def table() -> list[str]:
    """Lines of Markdown: GiB per GPU, in brackets where 80 GB do not hold them."""
    counts = (1, 2, 4, 8)
    lines = ["| model | engine | " + " | ".join(f"{n} GPU{'s' * (n > 1)}" for n in counts) + " |"]
    lines.append("| --- | --- |" + " ---: |" * len(counts))
    for name in _QWEN:
        model = shape(name)
        for engine in ("hf", "vllm", "server"):
            peaks = [needed(model, engine=engine, shards=n).peak for n in counts]
            cells = [f"{p / 2**30:.0f}" if p <= USABLE * _GPU else f"({p / 2**30:.0f})" for p in peaks]
            lines.append(f"| {name} | {engine} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
