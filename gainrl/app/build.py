"""What trains: the policy with its weights, the data module and the GRPO module, from configuration and parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from gainrl.app.components import Parts
from gainrl.app.extraction_progress import reporter
from gainrl.app.signal_wiring import make_probe
from gainrl.datasets.templates import BoundTemplate
from gainrl.files import cache_dir
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.distributed.ranks import Ranks
from gainrl.training.grpo import GRPOModule
from gainrl.training.upkeep.nonfinite import NonfiniteGuard
from gainrl.training.warm_start.cache import warm_started
from gainrl.types import Policy, ProblemSet


def load_policy(source: Any, template: BoundTemplate, problems: ProblemSet | None, console: Console) -> Policy:
    """The model with its weights: from its source, or warm-started on the worked solutions of ``problems`` (cached)."""
    settings = source.warm_start
    if settings is None:
        return source.load()
    assert problems is not None

    def announce() -> None:
        goal = "" if settings.stop_at is None else f", until solutions have a probability of {settings.stop_at}"
        console.print(
            f"[bold]warm start[/bold]  at most {settings.steps} supervised steps on worked solutions{goal} "
            "(cached afterwards; another kind of processor arrives at other weights)"
        )

    folder = warm_started(
        source.load,
        settings,
        source.identity(),
        template,
        problems,
        cache_dir=cache_dir(),
        announce=announce,
        progress=reporter(console),
    )
    console.print(f"[dim]warm-started weights: {folder}[/dim]", highlight=False)
    return source.load(folder)


def build_datamodule(config: DictConfig, parts: Parts) -> PromptDataModule:
    return PromptDataModule(
        splits=parts.splits,
        template=parts.template,
        curriculum=parts.curriculum,
        prompts_per_step=config.schedule.prompts_per_step,
        steps_per_epoch=config.schedule.steps_per_epoch,
        total_steps=config.schedule.steps,
        group_size=config.algorithm.group_size,
        seed=config.seed,
    )


def build_module(
    config: DictConfig, parts: Parts, policy: Policy, bundle: Path | None = None, ranks: Ranks | None = None
) -> GRPOModule:
    algorithm = config.algorithm
    probe, probe_completions = make_probe(config, policy)
    plain = {key: algorithm[key] for key in ("overlong", "reference_sync")}
    return GRPOModule(
        policy=policy,
        engine=parts.engine,
        reward=parts.reward,
        admission=parts.admission,
        objective=parts.objective,
        advantage=parts.advantage,
        sampling=parts.sampling,
        optimizer=instantiate(config.optimizer.optimizer, _convert_="all"),
        schedule=instantiate(config.optimizer.schedule, _convert_="all") if config.optimizer.schedule else None,
        prompts_per_step=config.schedule.prompts_per_step,
        minibatch_prompts=algorithm.minibatch_prompts,
        inner_epochs=algorithm.inner_epochs,
        micro_batch_size=algorithm.micro_batch_size,
        micro_batch_tokens=algorithm.micro_batch_tokens,
        max_grad_norm=config.optimizer.max_grad_norm,
        truncated=algorithm.truncated,
        overlong=dict(plain["overlong"]) if plain["overlong"] else None,
        reference_sync=dict(plain["reference_sync"]) if plain["reference_sync"] else None,
        probe=probe,
        probe_completions=probe_completions,
        critic=parts.critic,
        guard=NonfiniteGuard(limit=config.faults.nonfinite_limit, bundle=bundle),
        mismatch=parts.mismatch,
        seed=config.seed,
        ranks=ranks,
    )
