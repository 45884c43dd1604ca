"""GRPO steps of the real training loop (`GRPOModule` under Lightning's trainer), timed one by one."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from transformers import LlamaForCausalLM

from benchmarks.workload import (
    SHAPES,
    VOCABULARY,
    build_model,
    build_prompts,
    build_tokenizer,
    parity_reward,
    prompt_text,
)
from gainrl.admission.all import AdmitAll
from gainrl.app.runtime import prepare_process, quieten
from gainrl.curricula.uniform import UniformCurriculum
from gainrl.datasets.arrow import ArrowProblems
from gainrl.datasets.splits import DataSplits
from gainrl.datasets.templates import PromptTemplate
from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.objectives import Objective
from gainrl.rollouts.hf import HFEngine
from gainrl.training.algorithm import Algorithm
from gainrl.training.callbacks import SignalRefresh
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.grpo import GRPOModule
from gainrl.training.schedules import Optimization
from gainrl.training.upkeep.peak import PeakMemory, Plan, expected_footprint
from gainrl.types import Judgement, Policy, Problem, SamplingParams, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSettings:
    """The work of one step; every completion has exactly ``completion_length`` tokens.

    ``half_constant``: every second prompt's completions are all rewarded 0, so that their group has no gradient.
    ``shape``: of the model, by its name in `benchmarks.workload.SHAPES`. ``learning_rate``: of both sides, so small
    that the last step samples as the first does: a policy that learned would have groups without a gradient.
    """

    shape: str = "toy"
    prompts: int = 32
    prompt_length: int = 50
    group_size: int = 8
    completion_length: int = 64
    vocabulary: int = VOCABULARY  # of the tokenizer, at most the model's
    beta: float = 0.0
    inner_epochs: int = 1
    half_constant: bool = False
    micro_batch_tokens: int = 4096
    learning_rate: float = 1e-7

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StepTime:
    """Wall and processor seconds of one step, wall seconds by phase, and the share of groups that had a gradient."""

    wall: float
    cpu: float
    phases: dict[str, float]
    informative: float


class ParityReward:
    """1 where a completion holds at least as many even as odd tokens, so that groups are mixed; see `StepSettings`."""

    def __init__(self, *, half_constant: bool) -> None:
        self.half_constant = half_constant

    def score(self, completions: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        verdicts = []
        for text, problem in zip(completions, problems, strict=True):
            good = parity_reward(text)
            if self.half_constant and int(problem.id) % 2:
                good = 0.0
            verdicts.append(Verdict(Judgement.CORRECT if good else Judgement.WRONG, good))
        return verdicts


class Stopwatch(Callback):
    """Times every step; ``between`` runs before each of them and is not timed."""

    def __init__(self, between: Callable[[], None]) -> None:
        self.between = between
        self.times: list[StepTime] = []
        self.metrics: list[dict[str, float]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.between()
        self._phases = dict(pl_module.clock.seconds)
        self._start = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        wall, cpu = time.perf_counter() - self._start[0], time.process_time() - self._start[1]
        named = {name: value for name, value in pl_module.clock.seconds.items() if name != "other"}
        phases = {name: value - self._phases.get(name, 0.0) for name, value in named.items()}
        phases["other"] = wall - sum(phases.values())
        self.metrics.append(dict(outputs["metrics"]))
        self.times.append(StepTime(wall, cpu, phases, self.metrics[-1]["informative_groups"]))


def run_steps(
    settings: StepSettings,
    steps: int,
    between: Callable[[], None] = lambda: None,
    threads: int = 1,
    precision: str = "32-true",
) -> list[StepTime]:
    """Times of ``steps`` steps after a first one that warms up."""
    torch.set_num_threads(threads)
    module, data = build_run(settings, model_of(settings), steps + 1)
    stopwatch = Stopwatch(between)
    fit_run(module, data, [stopwatch], precision=precision)
    return stopwatch.times[1:]


def measured_memory(settings: StepSettings, precision: str = "32-true", threads: int = 1) -> tuple[int, int]:
    """Bytes that two steps hold at their peak beside what the process held before, weights included, and expected.

    For a process of its own, which keeps freed memory as that of a run does.
    """
    prepare_process()
    torch.set_num_threads(threads)
    memory = PeakMemory(cuda=False)
    memory.begin()
    module, data = build_run(settings, model_of(settings), 2)
    plan = Plan(mixed=precision == "bf16-mixed")
    expected = expected_footprint(module, settings.prompt_length, plan).peak
    fit_run(module, data, precision=precision)
    return memory.most() - memory.before, expected


def model_of(settings: StepSettings) -> LlamaForCausalLM:
    """The model of the settings' shape, with random weights."""
    return build_model(**SHAPES[settings.shape])


def build_run(settings: StepSettings, model: Any, steps: int) -> tuple[GRPOModule, PromptDataModule]:
    """A run of ``steps`` steps around ``model``; `fit_run` runs it."""
    tokenizer = build_tokenizer(settings.vocabulary)
    prompts = build_prompts(settings.prompts, settings.prompt_length)
    problems = [Problem(str(row), prompt_text(prompt), "0") for row, prompt in enumerate(prompts)]
    module = GRPOModule(
        policy=Policy(model=model, tokenizer=tokenizer, stop_ids=(), pad_id=0),
        engine=HFEngine(),
        reward=ParityReward(half_constant=settings.half_constant),
        admission=AdmitAll(),
        algorithm=Algorithm(
            objective=Objective(beta=settings.beta),
            advantage=AdvantageSettings(),
            group_size=settings.group_size,
            inner_epochs=settings.inner_epochs,
            micro_batch_tokens=settings.micro_batch_tokens,
        ),
        sampling=SamplingParams(group_size=settings.group_size, max_new_tokens=settings.completion_length),
        optimization=Optimization(optimizer=partial(torch.optim.AdamW, lr=settings.learning_rate)),
        prompts_per_step=settings.prompts,
    )
    data = PromptDataModule(
        splits=DataSplits(train=ArrowProblems.from_problems(problems, name="random tokens"), held_out=None),
        template=PromptTemplate(chat="plain", plain_form="{question}").bind(tokenizer),
        curriculum=UniformCurriculum(),
        prompts_per_step=settings.prompts,
        steps_per_epoch=1,
        total_steps=steps,
        group_size=settings.group_size,
        runtime=module.runtime,
    )
    return module, data


def fit_run(
    module: GRPOModule,
    data: PromptDataModule,
    callbacks: Sequence[Callback] = (),
    *,
    accelerator: str = "cpu",
    precision: Any = "32-true",
) -> None:
    quieten()
    warnings.filterwarnings("ignore", module="lightning")
    if not any(isinstance(callback, SignalRefresh) for callback in callbacks):
        data.bind(None)
    lightning.Trainer(
        max_epochs=data.pool.total_steps,
        accelerator=accelerator,
        devices=1,
        precision=precision,
        logger=False,
        callbacks=list(callbacks),
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    ).fit(module, datamodule=data)
