"""What reading the angle concentration off the update's own forward adds to a GRPO step.

    python -m benchmarks.concentration_cost [--steps 40] [--prompts 16] [--completion-length 64]

One run of the real module under Lightning. All steps do equal work (prompts of one length, completions of one length,
rewards that keep every group mixed); in each pair of neighbours one step has the probe and one has not, the order
turning from pair to pair. Two figures: the median over pairs of how much longer the step with the probe took, which
carries the machine's noise, and the processor time spent in the probe as a share of its step, which does not.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import lightning
import numpy as np
import torch

from benchmarks.tables import print_table
from gainrl.admission.all import AdmitAll
from gainrl.curricula.uniform import UniformCurriculum
from gainrl.datasets.arrow import ArrowProblems
from gainrl.datasets.splits import DataSplits
from gainrl.datasets.templates import PromptTemplate
from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.objectives import Objective
from gainrl.models.tiny import TinyModel
from gainrl.rollouts.hf import HFEngine
from gainrl.training import GRPOModule, PromptDataModule
from gainrl.training.algorithm import Algorithm
from gainrl.training.concentration import ConcentrationProbe, ConcentrationWatch
from gainrl.training.concentration_settings import Concentration
from gainrl.training.schedules import Optimization
from gainrl.types import Judgement, Policy, Problem, SamplingParams, Verdict

_WARM_UP = 2


class EveryOther:
    """The completions of a group are right and wrong in turn."""

    def score(self, completions: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        right = [index % 2 == 0 for index in range(len(completions))]
        return [Verdict(Judgement.CORRECT if good else Judgement.WRONG, float(good)) for good in right]


class TimedProbe(ConcentrationProbe):
    """Adds up the processor seconds spent around and after watched forwards, the forwards themselves left out."""

    seconds = 0.0

    def watch(self, *args: Any, **kwargs: Any) -> ConcentrationWatch:
        start = time.process_time()
        watch = super().watch(*args, **kwargs)
        inner = watch._watching

        @contextmanager
        def watching(spans: Any) -> Any:
            entered = time.process_time()
            with inner(spans):
                self.seconds += time.process_time() - entered
                yield
                left = time.process_time()
            self.seconds += time.process_time() - left

        watch._watching = watching  # type: ignore[method-assign]
        self.seconds += time.process_time() - start
        return watch


class InTurn(lightning.Callback):
    """Switches the probe on and off from step to step, and times the steps."""

    def __init__(self, module: GRPOModule) -> None:
        self.watch = module.learner.watch
        self.probe: Any = self.watch.probe
        self.wall: dict[bool, list[float]] = {True: [], False: []}
        self.cpu: dict[bool, list[float]] = {True: [], False: []}
        self.spent: list[float] = []

    def on_train_batch_start(self, *args: Any) -> None:
        pair, second = divmod(args[-1], 2)
        self.on = (pair + second) % 2 == 0
        self.watch.probe = self.probe if self.on else None
        self.since = time.perf_counter(), time.process_time(), self.probe.seconds

    def on_train_batch_end(self, *args: Any) -> None:
        wall, cpu = time.perf_counter() - self.since[0], time.process_time() - self.since[1]
        self.wall[self.on].append(wall)
        self.cpu[self.on].append(cpu)
        if self.on:
            self.spent.append((self.probe.seconds - self.since[2]) / cpu)


def problems(count: int, length: int) -> DataSplits:
    draws = np.random.default_rng(0).integers(0, 10, (count, length))
    rows = [Problem(id=str(i), question="".join(map(str, row)), reference_answer="0") for i, row in enumerate(draws)]
    return DataSplits(train=ArrowProblems.from_problems(rows, name="digits"), held_out=None)


def build(options: argparse.Namespace) -> tuple[GRPOModule, PromptDataModule]:
    source = TinyModel(hidden_size=128, intermediate_size=384, layers=4, heads=4, max_length=1024)
    policy = source.load()
    policy = Policy(policy.model, policy.tokenizer, stop_ids=(), pad_id=policy.pad_id)  # completions of one length
    template = PromptTemplate(
        system="Work the problem out.", example={"question": "1+1", "answer": "2"}, chat="required"
    ).bind(policy.tokenizer)
    module = GRPOModule(
        policy=policy,
        engine=HFEngine(),
        reward=EveryOther(),
        admission=AdmitAll(),
        algorithm=Algorithm(
            objective=Objective(),
            advantage=AdvantageSettings(),
            group_size=options.group_size,
            micro_batch_tokens=options.token_budget,
        ),
        sampling=SamplingParams(group_size=options.group_size, max_new_tokens=options.completion_length),
        optimization=Optimization(optimizer=partial(torch.optim.AdamW, lr=1e-5)),
        prompts_per_step=options.prompts,
        concentration=Concentration(),
    )
    module.learner.watch.probe = TimedProbe(policy.model)
    steps = 2 * (options.steps // 2) + _WARM_UP
    data = PromptDataModule(
        splits=problems(4 * options.prompts, options.question_length),
        template=template,
        curriculum=UniformCurriculum(),
        prompts_per_step=options.prompts,
        steps_per_epoch=steps,
        total_steps=steps,
        group_size=options.group_size,
        runtime=module.runtime,
    )
    data.bind(None)
    return module, data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--question-length", type=int, default=60)
    parser.add_argument("--completion-length", type=int, default=64)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--token-budget", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    module, data = build(options)
    turns = InTurn(module)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        callbacks=[turns],
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(module, datamodule=data)
    rows: list[list[str | float]] = []
    for name, seconds in (("wall", turns.wall), ("processor", turns.cpu)):
        on, off = seconds[True][_WARM_UP // 2 :], seconds[False][_WARM_UP // 2 :]
        more = [one / other - 1 for one, other in zip(on, off, strict=True)]
        middle = statistics.quantiles(more, n=4) if len(more) > 1 else [more[0]] * 3
        cells = [f"{middle[1]:+.2%}", f"{middle[0]:+.2%} to {middle[2]:+.2%}"]
        rows.append([f"{name} seconds a step", statistics.median(on), statistics.median(off), *cells])
    share = statistics.median(turns.spent[_WARM_UP // 2 :])
    rows.append(["processor time in the probe", "", "", f"{share:+.2%}", ""])
    print_table(["", "with probe", "without", "more", "middle half of the pairs"], rows)


if __name__ == "__main__":
    main()
