"""How a run measures its signal and the concentration that moves its curriculum."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from gainrl.app.components import Parts
from gainrl.app.extraction_progress import reporter
from gainrl.app.identity import plain_config
from gainrl.app.paths import cache_dir
from gainrl.signals.angle import AngleSignal
from gainrl.signals.extraction import extract
from gainrl.signals.live import ConcentrationProbe
from gainrl.signals.protocol import Signal
from gainrl.training.callbacks.refresh import Measure, MeasureConcentration
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.grpo import GRPOModule
from gainrl.types import Policy, SignalScores


def signal_measure(config: DictConfig, parts: Parts, console: Console) -> Measure:
    """The function through which the refresh callback measures the run's signal, cached over runs."""

    def measure(data: PromptDataModule, module: GRPOModule, rows: np.ndarray | None) -> SignalScores | None:
        signal = parts.signal
        if signal is None:
            return None
        with module.rolling_out() if signal.cost == "rollouts" else nullcontext():
            return found(signal, data, module, rows)

    def found(signal: Signal, data: PromptDataModule, module: GRPOModule, rows: np.ndarray | None) -> SignalScores:
        if rows is not None:
            values = _values_of_rows(signal, parts, data, module, rows)
        else:
            prompts = data.template.encode_all([problem.question for problem in data.problems])
            plain = plain_config(config)
            extracted = extract(
                {signal.name: signal},
                data.problems,
                prompts,
                module.policy,
                engine=parts.engine,
                reward=parts.reward,
                cache_dir=cache_dir() / "signals",
                progress=reporter(console),
                rollout_key=json.dumps([plain["rollout"], plain["reward"]], sort_keys=True),
                rank=module.ranks.rank,
                world_size=module.ranks.size,
                gather=module.ranks.gather,
            )
            values = extracted.values[signal.name]
            if signal.cost != "none":  # cached or not, so that a run's numbers do not depend on earlier ones
                module.clock.count(sum(map(len, prompts)))
        return SignalScores(signal.name, np.asarray(values, np.float64), signal.learn_first)

    return measure


def concentration_measure(config: DictConfig, parts: Parts) -> MeasureConcentration | None:
    """Mean concentration of an epoch without an update, with the settings of ``concentration``, by a pass of its own.

    That of the epoch's prompts, or where completions count as well, that of the last step's prompts and completions.
    """
    if config.concentration is None:
        return None
    if config.concentration.tokens == "prompt_and_completion":
        return _with_completions
    settings = {key: value for key, value in config.concentration.items() if key != "tokens"}
    signal = AngleSignal(**settings)  # type: ignore[arg-type]

    def measure(data: PromptDataModule, module: GRPOModule, rows: np.ndarray) -> float:
        return float(np.nanmean(_values_of_rows(signal, parts, data, module, rows)))

    return measure


def _with_completions(data: PromptDataModule, module: GRPOModule, rows: np.ndarray) -> float:
    assert module.experience is not None
    return module.learner.watch.measure(module.experience, module.learner.scorer)


def make_probe(config: DictConfig, policy: Policy) -> tuple[ConcentrationProbe | None, bool]:
    """The probe that reads the concentration off training's forward, and whether it reads completions as well."""
    if config.concentration is None:
        return None, False
    settings = dict(config.concentration)
    tokens = settings.pop("tokens")
    return ConcentrationProbe(policy.model, **settings), tokens == "prompt_and_completion"


def _values_of_rows(
    signal: Signal, parts: Parts, data: PromptDataModule, module: GRPOModule, rows: np.ndarray
) -> np.ndarray:
    problems = [data.problems[int(row)] for row in rows]
    prompts = data.template.encode_all([problem.question for problem in problems])
    if signal.cost != "none":
        module.clock.count(sum(map(len, prompts)))

    def compute(places: Sequence[int]) -> list[float]:
        some, their_prompts = [problems[place] for place in places], [prompts[place] for place in places]
        values = signal.compute(
            some, their_prompts, module.policy, engine=parts.engine, reward=parts.reward, rows=rows[list(places)]
        )
        return values.tolist()

    return np.asarray(module.ranks.map(compute, range(len(rows))))
