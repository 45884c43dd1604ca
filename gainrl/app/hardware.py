"""Threads, optional kernels, and memory: what a run is expected to need and what it needed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.profilers import PyTorchProfiler
from omegaconf import DictConfig
from rich.console import Console

from gainrl.app.identity import RunRecord
from gainrl.app.launch import layout
from gainrl.app.precision import PURE
from gainrl.functional.footprint import Footprint, readable
from gainrl.models.kernels import check_liger, compile_decoder, patch_with_liger
from gainrl.models.shared_prompts import shared_form
from gainrl.training.callbacks.evaluation import evaluation_of
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.distributed.ranks import Ranks
from gainrl.training.distributed.strategies import strategy_of
from gainrl.training.grpo import GRPOModule
from gainrl.training.upkeep.peak import PeakMemory, Plan, expected_footprint
from gainrl.types import Policy

_SAMPLED_PROMPTS = 256  # whose lengths give the estimate of memory


def check_hardware(config: DictConfig) -> None:
    """Sets the number of threads. Raises ValueError if ``trainer`` asks for something impossible."""
    threads = config.trainer.threads
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise ValueError(f"trainer.threads={threads!r} must be a number of threads, 1 or more; type trainer.threads=1")
    torch.set_num_threads(threads)
    if config.trainer.liger:
        check_liger()


def optional_kernels(config: DictConfig, policy: Policy) -> None:
    """Applies ``trainer.liger`` and ``trainer.compile`` to the policy."""
    if config.trainer.liger:
        patch_with_liger(policy.model)
    if config.trainer.compile:
        compile_decoder(policy)


def longest_prompt(data: PromptDataModule) -> int:
    """Tokens of the longest of the first prompts."""
    return max(map(len, data.prompts(range(min(_SAMPLED_PROMPTS, len(data.problems))))))


def print_expectations(
    record: RunRecord,
    module: GRPOModule,
    data: PromptDataModule,
    console: Console,
    callbacks: Iterable[Callback] = (),
    *,
    plan: Plan | None = None,
    compiled: bool = False,
) -> None:
    """Prints the memory that training will need, and whether completions can share their prompts.

    ``callbacks``: those of the run; an `Evaluation` among them needs memory, too. ``plan``: how the run is laid out
    (None: one process on a CPU); where it stays on a CPU, the weights are held already. ``compiled``: whether
    `optional_kernels` has compiled the decoder.
    """
    plan = plan or Plan()
    longest = longest_prompt(data)
    evaluation = evaluation_of(callbacks)
    evaluated = None
    if evaluation is not None:
        evaluated = evaluation.decoded_at_once(module.policy, data, module.reward, module.ranks.size)
    needed = expected_footprint(module, longest, plan, evaluated)
    record.update(memory={"expected_bytes": needed.peak - (0 if plan.cuda else module_bytes(module))})
    console.print(
        f"memory: {readable(needed.peak)} expected at the peak: {memory_parts(needed)}",
        style="dim",
        highlight=False,
    )
    form = shared_form(module.model, longest + module.sampling.max_new_tokens)
    if compiled and (form is None or plan.shards > 1 or not module.learner.scorer.share_prompts):
        console.print(
            "note: trainer.compile=true has no effect: it compiles the forward over completions that share their "
            "prompts, and here every completion runs with a prompt of its own (a sliding window, a recurrent state, "
            "gradient checkpointing, trainer=fsdp, or concentration.tokens=prompt_and_completion)",
            style="yellow",
            highlight=False,
        )
    if form is None:
        console.print(
            f"note: {type(module.model).__name__} cannot share a prompt's forward among its completions (sliding "
            "window, recurrent state, or gradient checkpointing): the update runs every prompt once per completion",
            style="yellow",
            highlight=False,
        )


def memory_parts(needed: Footprint) -> str:
    """The parts of the peak, in words."""
    copied = f"weights {readable(needed.copy)}, " if needed.copy else ""
    turns = [
        f"in an update activations {readable(needed.activations)}, weights gathered or cast {readable(needed.gathered)}"
        f", backward {readable(needed.backward)} or logits {readable(needed.logits)}",
        f"in a rollout {copied}cache {readable(needed.cache)}",
    ]
    if needed.evaluation:
        turns.append(f"in an evaluation cache {readable(needed.evaluation)}")
    if needed.gaps:
        turns.append(f"free between tensors {readable(needed.gaps)}")
    always = f"weights {readable(needed.weights)}, gradients {readable(needed.gradients)}, optimizer " + readable(
        needed.optimizer
    )
    if needed.engine_always:
        always += f", vLLM {readable(needed.engine_always)}"
    return f"{always}; {'; '.join(turns)}"


def module_bytes(module: GRPOModule) -> int:
    """Bytes of the policy's weights."""
    return sum(weight.numel() * weight.element_size() for weight in module.model.parameters())


def plan_of(config: DictConfig, processes: int) -> Plan:
    """How a run of ``processes`` is laid out on the devices of this machine."""
    cuda = will_use_cuda(config)
    return Plan(
        shards=processes if config.trainer.strategy == "fsdp" else 1,
        mixed=config.trainer.precision == "bf16-mixed",
        pure=config.trainer.precision == PURE,
        cuda=cuda,
        device_bytes=torch.cuda.get_device_properties(0).total_memory if cuda else None,
    )


def note_memory(record: RunRecord, peak: PeakMemory, console: Console) -> None:
    """The measured peak beside the expected one."""
    most = peak.most()
    expected = record.content["memory"]["expected_bytes"]
    record.update(memory={"expected_bytes": expected, "peak_bytes": most, "before_bytes": peak.before})
    console.print(
        f"memory: training held {readable(max(0, most - peak.before))} at the peak, {readable(expected)} expected, "
        f"beyond {readable(peak.before)} held before",
        highlight=False,
    )


def will_use_cuda(config: DictConfig) -> bool:
    """Whether the trainer will use a CUDA GPU."""
    return torch.cuda.is_available() and config.trainer.accelerator in ("auto", "gpu", "cuda")


def make_trainer(
    config: DictConfig,
    ranks: Ranks,
    *,
    callbacks: list[Callback],
    default_root_dir: Path,
    steps_left: int,
    **settings: object,
) -> lightning.Trainer:
    """Lightning's trainer without its checkpoints, samplers and progress bar, which this package replaces.

    With ``profile``, and 2 steps left or more, the operations of the second and third of them go to
    ``fit-trace-*.json`` of the run directory, and a summary to ``fit-trace.txt``.
    """
    return lightning.Trainer(
        accelerator=config.trainer.accelerator,
        strategy=strategy_of(config.trainer.strategy, ranks, timeout_minutes=config.trainer.timeout_minutes),
        **layout(config.trainer),
        precision="32-true" if config.trainer.precision == PURE else config.trainer.precision,
        callbacks=callbacks,
        default_root_dir=default_root_dir,
        profiler=_profiler(default_root_dir) if config.profile and steps_left > 1 else None,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        enable_model_summary=False,
        **settings,  # type: ignore[arg-type]
    )


def _profiler(folder: Path) -> PyTorchProfiler:
    steps = torch.profiler.schedule(wait=0, warmup=1, active=2, repeat=1)
    return PyTorchProfiler(
        dirpath=folder,
        filename="trace",
        export_to_chrome=True,
        record_module_names=False,  # its hooks on modules hold the trainer, and the reference is a copy of the model
        schedule=steps,
    )
