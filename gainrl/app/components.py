"""The components of a run that need no weights, built and checked first, so that faults show before a weight loads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from gainrl.app.errors import ConfigError, first_cause
from gainrl.app.needed_signal import needed_signal
from gainrl.app.reward_checks import require_judgeable
from gainrl.app.tracking import check_tracking
from gainrl.app.value_types import check_value_types
from gainrl.datasets.checks import Finding, clean, drop_long, evaluable
from gainrl.datasets.splits import DataSplits, training_problems
from gainrl.datasets.templates import BoundTemplate
from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.objectives import Objective
from gainrl.signals.protocol import Signal
from gainrl.training.callbacks.evaluation import Evaluation
from gainrl.training.checks import check_batches, check_completions
from gainrl.training.critic import CriticSettings
from gainrl.training.evaluation import EvaluationSet
from gainrl.training.mismatch import Mismatch
from gainrl.types import Admission, Curriculum, Reward, RolloutEngine, SamplingParams

_PROBED = ("prompt", "prompt_and_completion")


@dataclass(slots=True)
class Parts:
    """The components of a run that need no weights."""

    model_source: Any
    splits: DataSplits
    template: BoundTemplate
    reward: Reward
    engine: RolloutEngine
    signal: Signal | None
    curriculum: Curriculum
    admission: Admission
    objective: Objective
    advantage: AdvantageSettings
    critic: CriticSettings | None
    sampling: SamplingParams
    mismatch: Mismatch
    findings: list[str]
    evaluation_sets: list[EvaluationSet]
    evaluation: Evaluation


def build_parts(config: DictConfig) -> Parts:
    """Builds and checks all that is cheap. Raises ConfigError with the setting to change."""
    check_value_types(config)
    try:
        algorithm, schedule = config.algorithm, config.schedule
        check_batches(
            group_size=algorithm.group_size,
            prompts_per_step=schedule.prompts_per_step,
            minibatch_prompts=algorithm.minibatch_prompts or schedule.prompts_per_step,
            inner_epochs=algorithm.inner_epochs,
            micro_batch_size=algorithm.micro_batch_size,
            compares=algorithm.advantage.baseline != "none",
        )
        check_completions(
            truncated=algorithm.truncated, overlong=algorithm.overlong, reference_sync=algorithm.reference_sync
        )
        if config.concentration is not None:
            _check_concentration(config.concentration)
        _check_optimizer(config)
        check_tracking(config)
        objective = instantiate(algorithm.objective)
        advantage = instantiate(algorithm.advantage)
        critic = instantiate(algorithm.critic) if algorithm.get("critic") is not None else None
        if critic is not None:
            critic.check(advantage)
        curriculum = instantiate(config.curriculum, _convert_="all")
        admission = instantiate(config.admission, _convert_="all")
        reward = instantiate(config.reward, _convert_="all")
        engine = instantiate(config.rollout.engine, _convert_="all")
        signal = instantiate(config.signal, _convert_="all") if config.signal else None
        sampling = SamplingParams(
            group_size=algorithm.group_size,
            max_new_tokens=config.rollout.max_new_tokens,
            temperature=config.rollout.temperature,
            top_p=config.rollout.top_p,
            top_k=config.rollout.top_k,
        )
        if sampling.temperature <= 0:
            raise ConfigError(
                f"rollout.temperature={sampling.temperature} gives {sampling.group_size} equal completions per prompt, "
                "which cannot be compared; type rollout.temperature=1.0"
            )
        mismatch = instantiate(config.rollout.mismatch)
        mismatch.check(sampling)
        model_source = instantiate(config.model, _convert_="all")
        model_source.check()
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
        splits = replace(splits, train=train, held_out=held_out)
        training_problems(splits, prompts_per_step=schedule.prompts_per_step)
        require_judgeable(reward, train)
        signal, remarks = needed_signal(signal, curriculum, train)
    except InstantiationException as fault:
        raise ConfigError(first_cause(fault)) from fault
    return Parts(
        model_source=model_source,
        splits=splits,
        template=template,
        reward=reward,
        engine=engine,
        signal=signal,
        curriculum=curriculum,
        admission=admission,
        objective=objective,
        advantage=advantage,
        critic=critic,
        sampling=sampling,
        mismatch=mismatch,
        findings=[*map(str, findings), *remarks],
        evaluation_sets=evaluation_sets,
        evaluation=build_evaluation(config, evaluation_sets),
    )


def context_room(model_source: Any, max_new_tokens: int) -> int | None:
    """Tokens that a prompt may have, so that prompt and completion fit the model; None where it names no limit."""
    limit = model_source.context_length()
    if limit is None:
        return None
    if limit <= max_new_tokens:
        raise ConfigError(
            f"rollout.max_new_tokens={max_new_tokens} fills the model's {limit} positions and leaves none for a "
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
            raise ConfigError(f"nothing judges eval.sets.{name}; type reward=math, or +eval.reward=...")
        require_judgeable(own, problems)
        sets.append(EvaluationSet(str(name), problems, own, splits.compare_by))
    return sets


def fitting(
    sets: list[EvaluationSet], template: BoundTemplate, room: int | None
) -> tuple[list[EvaluationSet], list[Finding]]:
    """The sets without problems that cannot be asked, and what was left out; ``room``: tokens a prompt may have."""
    kept, findings = [], []
    for item in sets:
        problems, found = evaluable(item.problems, template, max_prompt_tokens=room)
        kept.append(replace(item, problems=problems))
        findings += found
    return kept, findings


def build_evaluation(config: DictConfig, sets: list[EvaluationSet]) -> Evaluation:
    """The callback that evaluates while training."""
    return Evaluation(
        every=config.evaluation.every,
        samples=config.evaluation.samples,
        temperature=config.evaluation.temperature,
        top_p=config.rollout.top_p,
        top_k=config.rollout.top_k,
        limit=config.evaluation.limit,
        max_new_tokens=config.rollout.max_new_tokens,
        seed=config.evaluation.seed,
        held_out=config.eval.held_out,
        sets=sets,
    )


def close_parts(*parts: Any) -> None:
    """Ends what rewards and engines hold: processes, memory."""
    for part in parts:
        close = getattr(part, "close", None)
        if close is not None:
            close()


def _check_concentration(concentration: DictConfig) -> None:
    if concentration.tokens not in _PROBED:
        raise ConfigError(f"concentration.tokens={concentration.tokens!r} is unknown; use {' or '.join(_PROBED)}")
    weights = {f"concentration.{name}": concentration.get(name, 1.0) for name in ("intra", "inter")}
    idle = [f"{name}={weight}" for name, weight in weights.items() if weight != 1]
    if idle and concentration.tokens == "prompt_and_completion":
        raise ConfigError(
            f"{', '.join(idle)} would do nothing: concentration.tokens=prompt_and_completion measures prompt and "
            "completion as one segment, without terms; leave the weights at 1, or type concentration.tokens=prompt"
        )


def _check_optimizer(config: DictConfig) -> None:
    """Tries optimizer and schedule on a parameter of no consequence, since they see the model's only in training."""
    optimizer = instantiate(config.optimizer.optimizer, _convert_="all")([torch.nn.Parameter(torch.zeros(1))])
    if config.optimizer.schedule:
        instantiate(config.optimizer.schedule, _convert_="all")(optimizer)
