"""A run small enough for a unit test: one layer of width 16, problems in memory, rewards by rule, real Lightning."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint, ProgressBar

from gainrl.admission.all import AdmitAll
from gainrl.curricula.pool import CurriculumDefaults
from gainrl.curricula.uniform import UniformCurriculum
from gainrl.datasets.arrow import ArrowProblems
from gainrl.datasets.splits import DataSplits
from gainrl.datasets.templates import BoundTemplate, PromptTemplate
from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.objectives import Objective
from gainrl.models.tiny import TinyModel
from gainrl.rollouts.hf import HFEngine
from gainrl.training import GRPOModule, PromptDataModule
from gainrl.training.algorithm import Algorithm
from gainrl.training.callbacks import SignalRefresh
from gainrl.training.runtime import Runtime
from gainrl.training.schedules import Optimization
from gainrl.types import (
    FinishReason,
    Judgement,
    Policy,
    Problem,
    PromptTokens,
    Rollout,
    SamplingParams,
    SignalScores,
    Verdict,
)

TOKENS = 6  # limit on a completion


def tiny_policy(seed: int = 0) -> Policy:
    return TinyModel(hidden_size=16, intermediate_size=32, layers=1, heads=2, max_length=64, seed=seed).load()


def template_of(policy: Policy) -> BoundTemplate:
    return PromptTemplate(system="Add.", example={"question": "1+1", "answer": "2"}, chat="auto").bind(policy.tokenizer)


def sums(count: int = 16, held_out: int = 6, levels: int = 3) -> DataSplits:
    def problem(number: int, part: str) -> Problem:
        level = number % levels + 1
        return Problem(
            id=f"{part}-{number}",
            question=f"{number}+{level}",
            reference_answer=str(number + level),
            level=level,
            difficulty=float(level),
            solution=f"{number}+{level}={number + level}",
        )

    return DataSplits(
        train=ArrowProblems.from_problems([problem(n, "train") for n in range(count)], name="sums"),
        held_out=ArrowProblems.from_problems([problem(n, "held") for n in range(100, 100 + held_out)], name="sums"),
    )


class RuleReward:
    """1 and correct where ``rule(completion, problem)`` holds, else 0 and wrong; keeps what it was asked."""

    def __init__(self, rule: Callable[[str, Problem], bool]) -> None:
        self.rule = rule
        self.asked: list[tuple[str, str]] = []

    def score(self, completions: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        self.asked.extend((text, problem.id) for text, problem in zip(completions, problems, strict=True))
        good = [self.rule(text, problem) for text, problem in zip(completions, problems, strict=True)]
        return [Verdict(Judgement.CORRECT if g else Judgement.WRONG, float(g)) for g in good]


def coin(text: str, problem: Problem) -> bool:
    """A fair coin that always falls the same way for the same completion."""
    return hashlib.blake2b(f"{problem.id} {text}".encode(), digest_size=1).digest()[0] % 2 == 0


class RecordingEngine:
    """The real engine, keeping every rollout it made."""

    def __init__(self) -> None:
        self.inner = HFEngine()
        self.rollouts: list[Rollout] = []

    def generate(
        self, policy: Policy, prompts: Sequence[PromptTokens], sampling: SamplingParams, keys: torch.Tensor
    ) -> Rollout:
        rollout = self.inner.generate(policy, prompts, sampling, keys)
        self.rollouts.append(rollout)
        return rollout


class ScriptedEngine:
    """Completions written by the test: the same texts for every prompt; a text without ``<end>`` is cut."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def generate(
        self, policy: Policy, prompts: Sequence[PromptTokens], sampling: SamplingParams, keys: torch.Tensor
    ) -> Rollout:
        texts = [self.texts[g % len(self.texts)] for _ in prompts for g in range(sampling.group_size)]
        return rollout_of(policy, prompts, sampling.group_size, texts)


def rollout_of(policy: Policy, prompts: Sequence[PromptTokens], group_size: int, texts: Sequence[str]) -> Rollout:
    ids = [policy.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    width = max(map(len, ids))
    return Rollout(
        prompts=list(prompts),
        group_size=group_size,
        completion_ids=torch.tensor([row + [policy.pad_id] * (width - len(row)) for row in ids]),
        lengths=torch.tensor([len(row) for row in ids]),
        finish_reasons=[FinishReason.STOP if row[-1] in policy.stop_ids else FinishReason.LENGTH for row in ids],
    )


class FollowSignal(CurriculumDefaults):
    """Serves the rows from the high end of the signal, again from the top after every refresh or full pass."""

    def start(self, pool, signal, seed):
        self.order = np.argsort(-signal.values, kind="stable")
        self.place = 0
        self.feedback, self.seen, self.asked, self.shown = [], [], [], []

    def refresh(self, signal):
        self.order, self.place = np.argsort(-signal.values, kind="stable"), 0

    def propose(self, n, exclude=()):
        self.asked.append((n, list(exclude)))
        free = [row for row in np.roll(self.order, -self.place).tolist() if row not in set(exclude)]
        self.place += n
        return np.array(free[:n], np.int64)

    def observe(self, groups):
        self.seen.append([group.row for group in groups])

    def after_update(self, concentrations):
        self.shown.append(concentrations)

    def end_epoch(self, feedback):
        self.feedback.append(feedback)

    def metrics(self):
        return {"place": float(self.place)}

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


_ALGORITHM, _OPTIMIZATION, _RUNTIME = (
    {field.name for field in fields(kind)} for kind in (Algorithm, Optimization, Runtime)
)


def grpo(kind: type[GRPOModule] = GRPOModule, **settings) -> GRPOModule:
    """A module from loose settings: those of its records are put into them."""
    settings = {"admission": AdmitAll(), "objective": Objective(), "advantage": AdvantageSettings()} | settings
    settings["group_size"] = settings["sampling"].group_size

    def record(kind, names):
        return kind(**{name: settings.pop(name) for name in names & settings.keys()})

    return kind(
        algorithm=record(Algorithm, _ALGORITHM),
        optimization=record(Optimization, _OPTIMIZATION),
        runtime=record(Runtime, _RUNTIME),
        **settings,
    )


def module_of(
    policy: Policy | None = None, *, objective: dict | None = None, lr: float = 0.1, **settings
) -> GRPOModule:
    settings = {
        "engine": RecordingEngine(),
        "reward": RuleReward(coin),
        "sampling": SamplingParams(group_size=4, max_new_tokens=TOKENS),
        "optimizer": partial(torch.optim.SGD, lr=lr),
        "prompts_per_step": 4,
    } | settings
    return grpo(policy=policy or tiny_policy(), objective=Objective(**(objective or {})), **settings)


def data_of(module: GRPOModule, *, splits: DataSplits | None = None, curriculum=None, steps: int = 1, epoch: int = 2):
    return PromptDataModule(
        splits=splits or sums(),
        template=template_of(module.policy),
        curriculum=curriculum or UniformCurriculum(),
        prompts_per_step=module.prompts_per_step,
        steps_per_epoch=epoch,
        total_steps=steps,
        group_size=module.sampling.group_size,
        runtime=module.runtime,
    )


def logged(module: GRPOModule) -> dict[str, float]:
    """What Lightning was shown, each name with its last value."""
    return {name: float(value) for name, value in module.trainer.callback_metrics.items()}


def refresh_of(folder, *values: np.ndarray, **settings) -> SignalRefresh:
    """A refresh callback whose measurements are the given ones, one after the other, the last one for ever."""
    left = list(values)

    def measure(data, module, rows):
        if rows is not None:
            return SignalScores("given", left[0][rows])
        return SignalScores("given", left.pop(0) if len(left) > 1 else left[0])

    return SignalRefresh(measure=measure, folder=folder, **settings)


def fit(
    module: GRPOModule, data: PromptDataModule, callbacks: Sequence = (), *, precision: str = "32-true", logger=False
) -> lightning.Trainer:
    if not any(isinstance(callback, SignalRefresh) for callback in callbacks):
        data.bind(None)
    steps = data.pool.total_steps
    trainer = lightning.Trainer(
        max_epochs=-(-steps // data.pool.steps_per_epoch),
        accelerator="cpu",
        precision=precision,
        logger=logger,
        log_every_n_steps=1,
        callbacks=list(callbacks),
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
    )
    trainer.fit(module, datamodule=data)
    return trainer


def trained(*, steps: int = 1, epoch: int = 2, callbacks: Sequence = (), curriculum=None, **settings) -> GRPOModule:
    module = module_of(**settings)
    fit(module, data_of(module, steps=steps, epoch=epoch, curriculum=curriculum), callbacks)
    return module


def weights(module: GRPOModule) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.model.state_dict().items()}


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)
