"""The components of a run that need no weights, built and checked first, so that faults show before a weight loads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from gainrl.app.early import build_sampling
from gainrl.app.errors import ConfigError, first_cause
from gainrl.app.needed_signal import needed_signal
from gainrl.app.precision import PURE
from gainrl.app.reward_checks import require_judgeable
from gainrl.app.trackers import check_trackers
from gainrl.app.value_types import check_value_types
from gainrl.curricula.uniform import UniformCurriculum
from gainrl.datasets.checks import Finding, clean, drop_long, evaluable
from gainrl.datasets.splits import DataSplits, training_problems
from gainrl.datasets.templates import BoundPrompts
from gainrl.signals.protocol import Signal
from gainrl.training.advantages import Mismatch
from gainrl.training.algorithm import Algorithm
from gainrl.training.concentration_settings import Concentration
from gainrl.training.evaluation import EvaluationSet
from gainrl.training.schedules import Optimization
from gainrl.types import Admission, Allocation, Curriculum, Reward, RolloutEngine, SamplingParams


@dataclass(frozen=True, slots=True)
class Components:
    """What a run is made of, before its model has weights."""

    model_source: Any
    splits: DataSplits
    template: BoundPrompts
    reward: Reward
    engine: RolloutEngine
    signal: Signal | None
    curriculum: Curriculum
    admission: Admission
    allocation: Allocation
    algorithm: Algorithm
    optimization: Optimization
    sampling: SamplingParams
    concentration: Concentration | None
    mismatch: Mismatch
    findings: list[str]
    evaluation_sets: list[EvaluationSet]


def build_components(config: DictConfig) -> Components:
    """Builds and checks all that is cheap. Raises ConfigError with the setting to change."""
    check_value_types(config)
    try:
        check_trackers(config)
        algorithm = instantiate(config.algorithm, _convert_="all")
        algorithm.minibatch_of(config.schedule.prompts_per_step)
        optimization = instantiate(config.optimizer, _convert_="all")
        curriculum = instantiate(config.curriculum, _convert_="all")
        if algorithm.advantage.baseline == "tracker" and not hasattr(curriculum, "tracked_values"):
            raise ConfigError(
                "algorithm.advantage.baseline=tracker compares completions with a value that the curriculum tracks for "
                "their prompt, but this curriculum tracks nothing; type curriculum=spo, or "
                "algorithm.advantage.baseline=mean"
            )
        admission = instantiate(config.admission, _convert_="all")
        allocation = instantiate(config.allocation, _convert_="all")
        reward = instantiate(config.reward, _convert_="all")
        engine = instantiate(config.rollout.engine, _convert_="all")
        signal = instantiate(config.signal, _convert_="all") if config.signal else None
        concentration = instantiate(config.concentration).of(signal) if config.concentration else None
        if concentration is None and getattr(curriculum, "needs_concentration", False):
            raise ConfigError(
                f"curriculum.update={config.curriculum['update']} moves the centre by the concentration, which "
                "concentration=null does not measure; leave concentration out, or type curriculum.update=accuracy_only"
            )
        sampling = build_sampling(config, algorithm.group_size)
        mismatch = instantiate(config.rollout.mismatch)
        mismatch.check(sampling)
        model_source = instantiate(config.model, _convert_="all")
        model_source.check()
        check_four_bit(model_source, config.trainer)
        if config.trainer.strategy == "fsdp":
            check_shards(optimization)
        template = instantiate(config.template, _convert_="all").bind(model_source.tokenizer())
        evaluation_sets = build_evaluation_sets(config.eval, reward)
        others = [item.problems for item in evaluation_sets]
        splits, findings = clean(instantiate(config.dataset, _convert_="all"), evaluation=others)
        train, held_out = training_problems(splits), splits.held_out
        room = context_room(model_source, config.rollout.max_new_tokens)
        evaluation_sets, left_out = fitting(evaluation_sets, template, room)
        findings += left_out
        if room is not None:
            train, long = drop_long(train, template, max_prompt_tokens=room)
            findings += [long] if long else []
            if held_out is not None:
                held_out, long = drop_long(held_out, template, max_prompt_tokens=room)
                findings += [long] if long else []
        lessons = train if splits.lessons is None else splits.lessons  # the same for every data_limit
        splits = replace(splits, train=at_most(train, config.data_limit), held_out=held_out, lessons=lessons)
        training_problems(splits, prompts_per_step=config.schedule.prompts_per_step)
        require_judgeable(reward, training_problems(splits))
        if hasattr(curriculum, "check"):
            curriculum.check(training_problems(splits))
        signal, remarks = needed_signal(signal, curriculum, train)
        remarks += visits_remark(config, allocation, curriculum, len(training_problems(splits)))
    except InstantiationException as fault:
        raise ConfigError(first_cause(fault)) from fault
    return Components(
        model_source=model_source,
        splits=splits,
        template=template,
        reward=reward,
        engine=engine,
        signal=signal,
        curriculum=curriculum,
        admission=admission,
        allocation=allocation,
        algorithm=algorithm,
        optimization=optimization,
        sampling=sampling,
        concentration=concentration,
        mismatch=mismatch,
        findings=[*map(str, findings), *remarks],
        evaluation_sets=evaluation_sets,
    )


def visits_remark(config: DictConfig, allocation: Any, curriculum: Any, problems: int) -> list[str]:
    """A remark where an allocation plans by earlier visits, and most prompts are drawn for the first time.

    Uniform draws alone go through the whole pool before a prompt comes back; others are left without one.
    """
    draws = config.schedule.steps * config.schedule.prompts_per_step
    if not getattr(allocation, "needs_visits", False) or type(curriculum) is not UniformCurriculum:
        return []
    if draws >= 2 * problems:
        return []
    few = max(config.schedule.prompts_per_step, draws // 5)
    return [
        f"{type(allocation).__name__} shares completions by what earlier visits of a prompt showed, and equally where "
        f"there were none, as in most of {draws:,} draws from {problems:,} problems; type data_limit={few}, or more "
        "schedule.steps"
    ]


def check_four_bit(model_source: Any, trainer: DictConfig) -> None:
    """Raises ConfigError where a trainer cannot keep the weights of a model in 4 bits."""
    if not getattr(model_source, "load_in_4bit", False):
        return
    if trainer.strategy == "fsdp":
        raise ConfigError(
            "trainer=fsdp divides weights among its processes, which weights in 4 bits with scales of their own do not "
            "allow; type trainer=ddp, or model.load_in_4bit=false"
        )
    if trainer.precision == PURE:
        raise ConfigError(
            f"trainer.precision={PURE} rounds all weights to bfloat16, and those in 4 bits multiply in the precision "
            "of model.dtype; type trainer.precision=bf16-mixed, or model.load_in_4bit=false"
        )


def check_shards(optimization: Optimization) -> None:
    """Raises ConfigError for an optimizer that cannot step shards."""
    try:
        optimization.check_shards()
    except ValueError as fault:
        raise ConfigError(str(fault)) from fault


def at_most(problems: Any, number: int | None) -> Any:
    """``number`` problems, evenly spaced over the set, so that all its levels and sources are among them."""
    if number is None or len(problems) <= number:
        return problems
    return problems.select(np.linspace(0, len(problems) - 1, number).round().astype(np.int64))


def context_room(model_source: Any, max_new_tokens: int) -> int | None:
    """Tokens that a prompt may have so that prompt and completion fit the model; None if the model has no limit."""
    limit = model_source.context_length()
    if limit is None:
        return None
    if limit <= max_new_tokens:
        raise ConfigError(
            f"rollout.max_new_tokens={max_new_tokens} fills the model's {limit} positions and leaves no room for a "
            f"prompt; type rollout.max_new_tokens={limit // 2}"
        )
    return limit - max_new_tokens


def build_evaluation_sets(node: DictConfig, reward: Reward | None) -> list[EvaluationSet]:
    """The sets of the group ``eval``, judged by ``eval.rewards.<set>``, else by ``eval.reward``, else by ``reward``.

    Raises ConfigError for a set without problems to evaluate, or a reward for a set that is not there.
    """
    strangers = sorted(set(node.rewards) - set(node.sets))
    if strangers:
        raise ConfigError(
            f"eval.rewards names {', '.join(strangers)}, but eval.sets has {', '.join(node.sets) or 'none'}"
        )
    common = instantiate(node.reward, _convert_="all") if node.sets and node.reward is not None else reward
    sets = []
    for name, settings in node.sets.items():
        splits = instantiate(settings, _convert_="all")
        problems = splits.held_out
        if problems is None or not len(problems):
            raise ConfigError(f"eval.sets.{name} holds out no problems; type '~eval.sets.{name}' to leave it out")
        own = instantiate(node.rewards[name], _convert_="all") if name in node.rewards else common
        if own is None:
            raise ConfigError(f"nothing judges eval.sets.{name}; type reward=math, or reward@eval.reward=math")
        require_judgeable(own, problems)
        sets.append(EvaluationSet(str(name), problems, own, splits.compare_by))
    return sets


def fitting(
    sets: list[EvaluationSet], template: BoundPrompts, room: int | None
) -> tuple[list[EvaluationSet], list[Finding]]:
    """The sets without problems that do not fit, and what was left out; ``room``: tokens a prompt may have."""
    kept, findings = [], []
    for item in sets:
        problems, found = evaluable(item.problems, template, max_prompt_tokens=room)
        kept.append(replace(item, problems=problems))
        findings += found
    return kept, findings


def close_parts(*parts: Any) -> None:
    """Closes rewards and engines: ends their processes, frees their memory."""
    for part in parts:
        close = getattr(part, "close", None)
        if close is not None:
            close()
