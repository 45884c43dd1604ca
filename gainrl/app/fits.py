"""The memory that a run will need, known before a weight is loaded, and what to change if it is too much.

    python -m gainrl.app.fits

prints the table of docs/several_processes.md: the paper's models on GPUs of 80 GB.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, TypeAlias

import torch
from omegaconf import DictConfig

from gainrl.app.components import Components
from gainrl.app.errors import ConfigError
from gainrl.functional.footprint import Footprint, readable
from gainrl.models.four_bit import in_four_bits
from gainrl.models.hub import enable_checkpointing
from gainrl.models.lora import has_adapter
from gainrl.training.batching import MicroBatchLimits
from gainrl.training.upkeep.peak import Plan, engine_sizes, expected_footprint, model_sizes
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
    _check_share(run, plan)
    needed, room = expected_footprint(run, prompt_tokens, plan), USABLE * plan.device_bytes
    if needed.peak <= room:
        return
    tries = (next((way for way in kind if way[1].peak <= room), None) for kind in _ways(run, prompt_tokens, plan))
    ways = [f"  {way[0]}  ({readable(way[1].peak)})" for way in tries if way is not None]
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


def _least_share(run: Any, plan: Plan) -> float:
    """The share of a device at which vLLM has as much room for keys and values as a quarter of its weights."""
    engine = copy.copy(run.engine)
    engine.memory_gib = 0.0  # its weights alone
    assert plan.device_bytes is not None
    return 1.25 * engine_sizes(engine, model_sizes(run.model), plan)["engine_bytes"] / plan.device_bytes


def _check_share(run: Any, plan: Plan) -> None:
    """Raises ConfigError where the share of a device that vLLM may take does not hold its weights."""
    engine = run.engine
    if not hasattr(engine, "take_weights") or engine.server is not None or engine.memory_gib is not None:
        return
    least = _least_share(run, plan)
    if engine.memory_share < least:
        enough = math.ceil(20 * least) / 20
        raise ConfigError(
            f"rollout.engine.memory_share={engine.memory_share:g} of a device of {readable(plan.device_bytes or 0)} "
            "does not hold vLLM's weights and a cache; "
            + (f"type rollout.engine.memory_share={enough:g}" if enough < 1 else "take a smaller model")
        )


Way: TypeAlias = tuple[str, Footprint]


def _ways(run: Any, prompt_tokens: int, plan: Plan) -> Iterator[Iterator[Way]]:
    """Changes that save memory, the cheapest first, each in steps, with what a run would need with it."""

    def way(text: str, at: Plan = plan, **changes: Any) -> Way:
        changed = copy.copy(run)
        vars(changed).update(changes)
        return text, expected_footprint(changed, prompt_tokens, at)

    def engine(**changes: Any) -> Any:
        changed = copy.copy(run.engine)
        vars(changed).update(changes)
        return changed

    longest = prompt_tokens + run.sampling.max_new_tokens
    yield (
        way(f"algorithm.micro_batch_tokens={limit}", limits=MicroBatchLimits(limit, run.limits.completions))
        for limit in _halves(run.limits.tokens, longest // 2)
    )
    if hasattr(run.engine, "take_weights"):
        if run.engine.server is None and run.engine.memory_gib is None:
            yield (
                way(f"rollout.engine.memory_share={share}", engine=engine(memory_share=share))
                for share in (0.5, 0.4, 0.3, 0.2)
                if _least_share(run, plan) <= share < run.engine.memory_share
            )
    elif hasattr(run.engine, "max_batch_size"):
        completions = min(run.engine.max_batch_size, run.prompts_per_step * run.sampling.group_size)
        yield (
            way(f"rollout.engine.max_batch_size={rows}", engine=engine(max_batch_size=rows))
            for rows in _halves(completions, run.sampling.group_size - 1)
        )
    if run.model.supports_gradient_checkpointing:
        saving = copy.deepcopy(run.model)
        enable_checkpointing(saving)
        yield iter([way("model.gradient_checkpointing=true", model=saving)])
        if plan.shards == 1 and not in_four_bits(run.model):
            yield (
                way(
                    f"trainer=fsdp trainer.devices={devices} model.gradient_checkpointing=true",
                    replace(plan, shards=devices),
                    model=saving,
                )
                for devices in (2, 4, 8)
            )
    if not plan.mixed:
        yield iter([way("trainer.precision=bf16-mixed", replace(plan, mixed=True, pure=False))])
    if not (plan.pure or run.critic or run.algorithm.critic or in_four_bits(run.model)):
        yield iter([way("trainer.precision=bf16-master", replace(plan, mixed=False, pure=True))])


def _halves(number: int, least: int) -> Iterator[int]:
    """Halves of a number, their halves, and so on, as long as they are larger than ``least``."""
    while (number := number // 2) > least:
        yield number


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
    owns = {"take_weights": None, "memory_gib": None, "memory_share": 0.5, "sleep": None, "dtype": "auto"}
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
        algorithm=SimpleNamespace(reference_sync=None, replay=None),
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
