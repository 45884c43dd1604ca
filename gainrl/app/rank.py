"""``gainrl-rank``: scores a data set with every signal, without training, and writes what the scores say."""

from __future__ import annotations

from gainrl.app.runtime import prepare_process

prepare_process()  # before torch is imported

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from gainrl.app.commandline.command import Command, run_command
from gainrl.app.errors import ConfigError
from gainrl.app.extraction_progress import reporter
from gainrl.app.paths import config_dir
from gainrl.app.refusals import exit_code, refusals
from gainrl.app.validate import validate
from gainrl.files import cache_dir

if TYPE_CHECKING:  # imports torch: only when used, so that a refusal does not wait for it
    from gainrl.datasets.splits import DataSplits
    from gainrl.datasets.templates import BoundPrompts
    from gainrl.signals.extraction import Extraction
    from gainrl.signals.protocol import Signal
    from gainrl.types import Policy, ProblemSet, PromptTokens, Reward, RolloutEngine

COMMAND = Command("gainrl-rank", "rank", "Cannot rank")


def cli() -> None:
    """The console script; exits with 1 if the data set could not be scored, with 75 if it was interrupted."""
    sys.exit(run_command(COMMAND, main) or exit_code())


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="rank")
def main(config: DictConfig) -> None:
    with refusals(COMMAND.cannot):
        rank(config, Console(soft_wrap=not sys.stdout.isatty()))  # in a log file a line stays a line


def rank(config: DictConfig, console: Console) -> Path:
    """Scores the data set and returns the folder with table and report. Raises ConfigError if something cannot work."""
    validate(config, "rank")
    if config.table not in ("parquet", "csv"):
        raise ConfigError(f"table={config.table!r} is unknown; type table=parquet or table=csv")
    if config.split not in ("train", "held_out"):
        raise ConfigError(f"split={config.split!r} is unknown; type split=train or split=held_out")
    from gainrl.app.ranking import compare, order_files, published_orders, signal_table
    from gainrl.app.ranking_report import write_report
    from gainrl.signals.extraction import extract

    try:
        parts = _build(config)
    except InstantiationException as fault:
        raise ConfigError(str(fault.__cause__ or fault)) from fault
    primary = next(iter(parts.signals))
    problems: Any = parts.problems
    if config.limit is not None:
        problems = [problems[row] for row in range(min(config.limit, len(problems)))]
    prompts = parts.template.encode_problems([problems[row] for row in range(len(problems))])
    orders = [] if config.published is None else order_files(Path(config.published).expanduser(), parts.problems.name)
    for signal in parts.signals.values():
        if signal.cost == "none":
            signal.compute(problems, prompts)  # gaps in the data show before the model is loaded
    policy = parts.load(console)
    with console.status("measuring") as status:
        extraction = extract(
            parts.signals,
            problems,
            prompts,
            policy,
            engine=parts.engine,
            reward=parts.reward,
            cache_dir=cache_dir() / "signals",
            rollout_key=OmegaConf.to_yaml(OmegaConf.masked_copy(config, ["rollout", "reward"]), resolve=True),
            overlong=config.overlong,
            progress=reporter(console, status.update),
        )
    table = signal_table(problems, prompts, extraction.values)
    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    if config.table == "parquet":
        table.to_parquet(folder / "signals.parquet", index=False)
    else:
        table.to_csv(folder / "signals.csv", index=False)
    bootstrap = {"resamples": config.resamples, "seed": config.seed}
    write_report(
        folder,
        title=f"Signals of {parts.problems.name}",
        facts=_facts(config, prompts, extraction),
        table=table,
        problems=problems,
        signal=primary,
        comparisons=compare(table, **bootstrap),
        orders=published_orders(orders, problems, table, primary, **bootstrap),
        resamples=config.resamples,
    )
    console.print(f"{len(table)} problems scored: {folder / 'report.md'}", highlight=False)
    return folder


@dataclass(slots=True)
class _Parts:
    signals: dict[str, Signal]  # the one that signal= selects first
    source: Any
    template: BoundPrompts
    splits: DataSplits
    problems: ProblemSet
    engine: RolloutEngine | None
    reward: Reward | None

    def load(self, console: Console) -> Policy | None:
        """The model with its weights, if a signal reads one."""
        from gainrl.app.build import load_policy

        if all(signal.cost == "none" for signal in self.signals.values()):
            return None
        return load_policy(self.source, self.template, self.splits.warm_start, console)


def _build(config: DictConfig) -> _Parts:
    build = partial(instantiate, _convert_="all")
    primary: Signal = build(config.signal)
    signals = {primary.name: primary}
    for name, settings in config.others.items():
        signals.setdefault(str(name), build(settings))
    source = build(config.model)
    source.check()
    template = build(config.template).bind(source.tokenizer())
    splits = build(config.dataset)
    problems = splits.train if config.split == "train" else splits.held_out
    if problems is None:
        raise ConfigError(
            f"this data set has no problems under split={config.split}; type the other of train, held_out"
        )
    rollouts = any(signal.cost == "rollouts" for signal in signals.values())
    engine, reward = (build(config.rollout.engine), build(config.reward)) if rollouts else (None, None)
    return _Parts(signals, source, template, splits, problems, engine, reward)


def _facts(config: DictConfig, prompts: Sequence[PromptTokens], extraction: Extraction) -> list[str]:
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    named = ", ".join(f"{group}={choices[group]}" for group in ("model", "dataset", "template") if choices.get(group))
    prefix = sum(prompt.prefix_length for prompt in prompts) / max(len(prompts), 1)
    facts = [f"{named or config.model._target_}, split={config.split}"]
    facts.append(f"{len(prompts)} problems; {prefix:.0f} tokens before each question")
    if extraction.dropped or extraction.truncated:
        facts.append(
            f"longer than the model's context: {extraction.dropped} dropped, {extraction.truncated} truncated "
            f"(overlong={config.overlong})"
        )
    return facts


if __name__ == "__main__":
    cli()
