"""A run of a few steps that can be killed at a named point and built again from nothing but its directory."""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import yaml
from lightning.pytorch.callbacks import Callback

from gainrl.admission.refill import AdmitRefill
from gainrl.datasets.arrow import ArrowProblems
from gainrl.datasets.splits import DataSplits
from gainrl.datasets.templates import PromptTemplate
from gainrl.functional.objectives import Objective
from gainrl.models.tiny import TinyModel
from gainrl.rollouts.hf import HFEngine
from gainrl.training import GRPOModule, PromptDataModule
from gainrl.training.callbacks import Checkpoints, Evaluation, Records, SignalRefresh
from gainrl.training.concentration_settings import Concentration
from gainrl.training.schedules import warmup_then_constant
from gainrl.training.upkeep.checkpoints import CheckpointStore
from gainrl.training.upkeep.nonfinite import NonfiniteGuard
from gainrl.training.upkeep.state import collect_state, remaining_epochs, restore_state
from gainrl.types import Judgement, Problem, SamplingParams, SignalScores, Verdict
from tests.training.rig import grpo

STEPS, EPOCH, PROMPTS = 7, 3, 4
CURRICULA = Path(__file__).parents[2] / "conf" / "curriculum"
ALGORITHMS: dict[str, dict[str, Any]] = {
    "grpo": {"objective": {"beta": 0.04}},
    "dapo with refill": {
        "objective": {"clip": "higher", "epsilon_high": 0.28, "aggregation": "token_mean"},
        "admission": AdmitRefill(max_rounds=3),
        "overlong": {"buffer_fraction": 0.5},
    },
    "two inner epochs": {
        "objective": {"beta": 0.04},
        "inner_epochs": 2,
        "minibatch_prompts": 2,
        "reference_sync": {"every": 2, "mixing": 0.5},
    },
}


class Killed(BaseException):
    """The process ends here."""


class KillAt:
    """Counts the calls that pass a named point, and ends the run at one of them."""

    def __init__(self, point: str | None = None, call: int = 0) -> None:
        self.point, self.left = point, call

    def __call__(self, point: str) -> None:
        if point == self.point:
            if self.left == 0:
                raise Killed(point)
            self.left -= 1


class CoinReward:
    """A fair coin that always falls the same way for the same completion of the same problem."""

    def __init__(self, kill: KillAt) -> None:
        self.kill = kill

    def score(self, completions: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        self.kill("reward")
        heads = [
            hashlib.blake2b(f"{problem.id} {text}".encode(), digest_size=1).digest()[0] % 2 == 0
            for text, problem in zip(completions, problems, strict=True)
        ]
        return [Verdict(Judgement.CORRECT if head else Judgement.WRONG, float(head)) for head in heads]


class KillingEngine(HFEngine):
    def __init__(self, kill: KillAt) -> None:
        super().__init__()
        self.kill = kill

    def generate(self, *arguments: Any) -> Any:
        self.kill("rollout")
        return super().generate(*arguments)


class KillingModule(GRPOModule):
    kill: KillAt

    def manual_backward(self, *arguments: Any, **named: Any) -> None:
        self.kill("update")
        super().manual_backward(*arguments, **named)


class KillingEvaluation(Evaluation):
    kill: KillAt

    def measure(self, *arguments: Any) -> Any:
        self.kill("evaluation")
        return super().measure(*arguments)


class KillingRecords(Records):
    kill: KillAt

    def _write(self, *arguments: Any) -> None:
        self.kill("before the row")
        super()._write(*arguments)
        self.kill("after the row")


class KillingStore(CheckpointStore):
    kill: KillAt

    def save(self, *arguments: Any, **named: Any) -> Any:
        self.kill("before the checkpoint")
        saved = super().save(*arguments, **named)
        self.kill("after the checkpoint")
        return saved


class Trackers(lightning.pytorch.loggers.Logger):
    """A logger that keeps what it is given, over the lives of a run."""

    name, version = "kept", 0

    def __init__(self, kept: list[int]) -> None:
        super().__init__()
        self.kept = kept

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        assert step is not None
        self.kept.append(step)

    def log_hyperparams(self, *arguments: Any, **named: Any) -> None: ...


def curriculum_of(name: str) -> Any:
    settings = yaml.safe_load((CURRICULA / f"{name}.yaml").read_text())
    if name == "adarft":
        settings["difficulty"] = "rank"  # the signal here is not a pass rate
    module, _, kind = settings.pop("_target_").rpartition(".")
    return getattr(importlib.import_module(module), kind)(**settings)


def problems(part: str, numbers: range) -> ArrowProblems:
    return ArrowProblems.from_problems(
        [
            Problem(f"{part}-{n}", f"{n}+{n % 3}", str(n + n % 3), level=n % 3 + 1, difficulty=float(n % 3))
            for n in numbers
        ],
        name="sums",
    )


def measure(kill: KillAt, data: PromptDataModule, module: GRPOModule, rows: np.ndarray | None) -> SignalScores:
    """The mean logit of a prompt's last token: a signal that changes with the weights."""
    chosen = range(len(data.problems)) if rows is None else rows
    values = []
    for prompt in data.prompts(np.array(list(chosen))):
        kill("refresh")
        with torch.no_grad():
            values.append(float(module.model(torch.tensor([prompt.ids])).logits[0, -1].std()))
    return SignalScores("spread", np.array(values))


def run(
    folder: Path,
    *,
    curriculum: str = "gain",
    algorithm: str = "grpo",
    kill: KillAt | None = None,
    every_steps: int | None = 2,
    steps: int = STEPS,
    alter: Callable[[GRPOModule, Checkpoints], None] | None = None,
    tracked: list[int] | None = None,
    more: Sequence[Callback] = (),
    evaluate_every: int = 3,
) -> dict[str, Any]:
    """One life of a run: from its last checkpoint, or from nothing, to its end or to the point of its death."""
    kill = kill or KillAt()
    policy = TinyModel(hidden_size=16, intermediate_size=32, layers=1, heads=2, max_length=64).load()
    settings = dict(ALGORITHMS[algorithm])
    module = grpo(
        KillingModule,
        policy=policy,
        engine=KillingEngine(kill),
        reward=CoinReward(kill),
        objective=Objective(**settings.pop("objective")),
        sampling=SamplingParams(group_size=4, max_new_tokens=5),
        optimizer=partial(torch.optim.AdamW, lr=3e-2),
        schedule=partial(warmup_then_constant, warmup_updates=4),
        prompts_per_step=PROMPTS,
        concentration=Concentration(),
        guard=NonfiniteGuard(limit=2, bundle=folder / "faults" / "nonfinite.pt"),
        seed=5,
        **settings,
    )
    module.kill = kill
    data = PromptDataModule(
        splits=DataSplits(train=problems("train", range(18)), held_out=problems("held", range(100, 104))),
        template=PromptTemplate(system="Add.", example={"question": "1+1", "answer": "2"}, chat="auto").bind(
            policy.tokenizer
        ),
        curriculum=curriculum_of(curriculum),
        prompts_per_step=PROMPTS,
        steps_per_epoch=EPOCH,
        total_steps=steps,
        group_size=4,
        runtime=module.runtime,
    )
    store = KillingStore(folder / "checkpoints")
    evaluation = KillingEvaluation(every=evaluate_every, samples=2, max_new_tokens=5)
    records = KillingRecords(folder=folder)
    for part in (store, evaluation, records):
        part.kill = kill
    callbacks = [
        SignalRefresh(measure=partial(measure, kill), folder=folder, every_epochs=1),
        evaluation,
        *more,
        records,
    ]
    checkpoints = Checkpoints(store=store, every_steps=every_steps, monitor="eval/accuracy")
    found = store.newest()
    if found is not None:
        restore_state(found[1], module, data, [*callbacks, checkpoints])
        checkpoints.resume(found[1])
        store.forget_after(module.counters.step)
    if alter is not None:
        alter(module, checkpoints)
    trainer = lightning.Trainer(
        max_epochs=remaining_epochs(module.counters.step, steps_per_epoch=EPOCH, total_steps=steps),
        accelerator="cpu",
        logger=False if tracked is None else Trackers(tracked),
        callbacks=[*callbacks, checkpoints],
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(module, datamodule=data)
    return collect_state(trainer, module)


def lives(folder: Path, kills: Sequence[KillAt], **settings: Any) -> dict[str, Any]:
    """Runs until it is killed, once for each of ``kills``, and then to the end."""
    for kill in kills:
        try:
            run(folder, kill=kill, **settings)
        except Killed:
            continue
        raise AssertionError(f"the run ended before it came to {kill.point} for the last time")
    return run(folder, **settings)


def table(folder: Path) -> list[dict[str, str]]:
    """``metrics.csv`` without what each life measures anew: seconds, and bytes of memory and checkpoints."""
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if "seconds" not in k and "bytes" not in k} for row in rows]


def rollouts(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rollouts.jsonl").read_text().splitlines()]


def unlike(one: Any, other: Any, where: str = "state") -> list[str]:
    """Where two states differ in any bit; NaN equals NaN."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape
        same = same and torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))
        return [] if same else [where]
    if type(one) is not type(other):
        return [f"{where}: {type(one).__name__}, {type(other).__name__}"]
    if isinstance(one, dict):
        keys = [f"{where}: keys {sorted(map(str, one.keys() ^ other.keys()))}"] if one.keys() != other.keys() else []
        return keys + [
            line for key in one.keys() & other.keys() for line in unlike(one[key], other[key], f"{where}[{key!r}]")
        ]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{where}: {len(one)} entries, {len(other)} entries"]
        return [line for i, (a, b) in enumerate(zip(one, other, strict=True)) for line in unlike(a, b, f"{where}[{i}]")]
    return [] if one == other or (one != one and other != other) else [f"{where}: {one!r}, {other!r}"]


def same_run(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Differences of two final states, the seconds of their phases left out."""
    return unlike(*({k: v for k, v in s.items() if k != "phase_seconds"} for s in (one, other)))
