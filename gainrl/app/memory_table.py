"""``gainrl-train ... --dry-run``: the memory that a run needs on each device, by what holds it, here and on GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from omegaconf import DictConfig
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gainrl.app.components import Components, build_components, close_parts
from gainrl.app.errors import ConfigError
from gainrl.app.fits import USABLE, check_fits, planned_module
from gainrl.app.launch import layout
from gainrl.functional.footprint import Footprint, readable
from gainrl.models.four_bit import in_four_bits
from gainrl.training.upkeep.peak import Plan, expected_footprint

_GPUS = (1, 2, 4, 8)
_ROWS = {
    "always": "",
    "  weights": "weights",
    "  gradients": "gradients",
    "  optimizer": "optimizer",
    "  vLLM": "engine_always",
    "in an update": "",
    "  activations": "activations",
    "  weights, whole or cast": "gathered",
    "  backward": "backward",
    "  logits": "logits",
    "in an optimizer step": "step",
    "in a rollout": "",
    "  weights or vLLM": "copy",
    "  cache": "cache",
    "in an evaluation": "",
    "  cache ": "evaluation",
    "free between tensors": "gaps",
    "peak": "peak",
}


def print_memory(config: DictConfig, console: Console, *, arm: str = "") -> bool:
    """Prints the memory table of a run; False where it would be refused because it needs more than its GPUs have.

    Builds everything but the weights, data and tokenizer included. Raises ConfigError as the run itself would.
    """
    import torch

    from gainrl.app.build import build_callback, build_datamodule
    from gainrl.app.hardware import longest_prompt, plan_of
    from gainrl.training.callbacks import Evaluation
    from gainrl.training.runtime import Runtime

    components = build_components(config)
    try:
        skeleton = components.model_source.skeleton() if hasattr(components.model_source, "skeleton") else None
        if skeleton is None:
            console.print(f"memory: not known for a {type(components.model_source).__name__}", highlight=False)
            return True
        data = build_datamodule(config, components, Runtime(seed=config.seed))
        longest = longest_prompt(data)
        processes = planned_processes(config.trainer, gpus=torch.cuda.device_count())
        here = plan_of(config, processes)
        policy: Any = SimpleNamespace(model=skeleton, device=torch.device("cpu"))
        open_values = {"sets": components.evaluation_sets}
        evaluation = build_callback("evaluation", config.callbacks.get("evaluation"), open_values)
        evaluated = {}
        if isinstance(evaluation, Evaluation):
            evaluated = evaluation.decoded_at_once(policy, data, components.reward, processes)
        module = planned_module(config, components, skeleton)
        columns = columns_of(module, config, longest, here, processes, evaluated)
        console.print(table_of(columns, arm))
        console.print(
            f"for prompts of {longest} tokens and completions of {components.sampling.max_new_tokens}; CUDA and NCCL "
            f"need some more, so plan with {USABLE:.0%} of a device",
            style="dim",
            highlight=False,
        )
        return _fits(config, components, longest, here, console)
    finally:
        close_parts(components.engine, components.reward, *(one.reward for one in components.evaluation_sets))


def _fits(config: DictConfig, components: Components, longest: int, here: Plan, console: Console) -> bool:
    try:
        check_fits(config, components, longest, here)
    except ConfigError as fault:
        console.print(str(fault), style="yellow", highlight=False, markup=False)
        return False
    return True


def planned_processes(trainer: DictConfig, *, gpus: int) -> int:
    """How many processes a command would train with, before any of them is started."""
    if trainer.strategy == "single":
        return 1
    asked = layout(trainer)
    devices = asked["devices"]
    each = len(devices) if isinstance(devices, list) else max(1, gpus) if devices == "auto" else int(devices)
    return each * int(asked["num_nodes"])


def columns_of(
    module: Any, config: DictConfig, longest: int, here: Plan, processes: int, evaluated: Mapping[int, int]
) -> list[tuple[str, Footprint]]:
    """What each device holds: as the command would run here, and on 1, 2, 4 and 8 GPUs, several of them in shards.

    GPUs train in the precision asked for; ``auto`` is bfloat16 there.
    """
    name = "here" if processes == 1 else f"here, {config.trainer.strategy} x {processes}"
    found = [(name.replace(", ", "\n"), expected_footprint(module, longest, here, evaluated))]
    if config.trainer.accelerator != "cpu":
        mixed = config.trainer.precision in ("auto", "bf16-mixed")
        for number in _GPUS if not in_four_bits(module.model) else (1,):
            plan = replace(here, cuda=True, shards=number, mixed=mixed)
            name = "1 GPU" if number == 1 else f"{number} GPUs\nfsdp"
            found.append((name, expected_footprint(module, longest, plan)))
    return found


def table_of(columns: list[tuple[str, Footprint]], arm: str) -> Table:
    """One row per purpose; the peak is what is there always, and the largest of the parts that take turns."""
    title = f"memory of each device{f', {escape(arm)}' if arm else ''}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("held by")
    for name, _ in columns:
        table.add_column(name, justify="right")
    rows = {label: [getattr(found, name) for _, found in columns] if name else [] for label, name in _ROWS.items()}
    shown = [label for label, values in rows.items() if any(values) or not values]
    for label, following in zip(shown, [*shown[1:], ""], strict=True):
        if rows[label] or following.startswith(" "):  # no heading without a row
            table.add_row(label, *(readable(value) if value else "" for value in rows[label]))
    return table
