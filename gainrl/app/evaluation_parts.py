"""What an evaluation is made of, built and checked before a weight loads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from gainrl.app.components import build_evaluation_sets, context_room, fitting
from gainrl.app.errors import ConfigError, first_cause
from gainrl.app.reward_checks import require_judgeable
from gainrl.app.value_types import check_value_types
from gainrl.datasets.templates import BoundPrompts
from gainrl.training.evaluation import EvaluationSet, EvaluationSettings
from gainrl.types import ProblemSet, RolloutEngine


@dataclass(slots=True)
class EvaluationParts:
    """The components of an evaluation that need no weights."""

    source: Any
    template: BoundPrompts
    engine: RolloutEngine
    settings: EvaluationSettings
    sets: list[EvaluationSet]
    findings: list[str]  # what was left out of the sets
    train: ProblemSet | None  # for models that start with a supervised phase


def build_evaluation_parts(config: DictConfig) -> EvaluationParts:
    """All that needs no weights; raises ConfigError with the setting to change."""
    given = config.evaluation
    if given.batch_problems < 1 or given.resamples < 1:
        raise ConfigError(
            f"evaluation.batch_problems={given.batch_problems} and evaluation.resamples={given.resamples} must be 1 or "
            "more"
        )
    check_value_types(config)
    try:
        settings = EvaluationSettings(
            samples=given.samples,
            max_new_tokens=config.rollout.max_new_tokens,
            temperature=given.temperature,
            top_p=config.rollout.top_p,
            top_k=config.rollout.top_k,
            limit=given.limit,
            seed=given.seed,
        )
        engine = instantiate(config.rollout.engine, _convert_="all")
        source = instantiate(config.model, _convert_="all")
        source.check()
        template = instantiate(config.template, _convert_="all").bind(source.tokenizer())
        held_out = train = None
        compare_by: Literal["level", "source"] = "level"
        if config.eval.held_out or source.warm_start is not None:
            if config.get("dataset") is None:
                raise ConfigError("this model is warm-started on a data set; type dataset=...")
            splits = instantiate(config.dataset, _convert_="all")
            held_out, train, compare_by = splits.held_out, splits.warm_start, splits.compare_by
        if source.warm_start is not None and train is None:
            raise ConfigError("this model is warm-started on training problems, and this data set has none")
        if config.eval.held_out and held_out is None:
            raise ConfigError(
                "this data set holds out no problems; for data of your own type dataset.held_out=FILE or "
                "dataset.held_out_size=100; else choose another with dataset=, or type eval=math_suite"
            )
        needed = config.eval.held_out or (
            config.eval.reward is None and set(config.eval.sets) - set(config.eval.rewards)
        )
        reward = instantiate(config.reward, _convert_="all") if needed else None
        sets = build_evaluation_sets(config.eval, reward)
        if config.eval.held_out and held_out is not None and reward is not None:
            require_judgeable(reward, held_out)
            sets.insert(0, EvaluationSet("held_out", held_out, reward, compare_by))
        sets, findings = fitting(sets, template, context_room(source, config.rollout.max_new_tokens))
    except InstantiationException as fault:
        raise ConfigError(first_cause(fault)) from fault
    return EvaluationParts(source, template, engine, settings, sets, [str(finding) for finding in findings], train)
