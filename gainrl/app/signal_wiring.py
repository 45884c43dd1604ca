"""How a run measures its signal and the concentration that moves its curriculum."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from gainrl.app.components import Components
from gainrl.app.errors import ConfigError
from gainrl.app.extraction_progress import reporter
from gainrl.app.identity import plain_config
from gainrl.files import cache_dir
from gainrl.signals.activations import Tap
from gainrl.signals.extraction import extract
from gainrl.signals.protocol import Signal
from gainrl.signals.states import QuestionStates
from gainrl.training.callbacks.refresh import Measure, MeasureConcentration, MeasureStates
from gainrl.training.concentration import by_row
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.grpo import GRPOModule
from gainrl.types import SignalScores


def signal_measure(config: DictConfig, components: Components, console: Console) -> Measure:
    """The function through which the refresh callback measures the run's signal, cached over runs."""

    def measure(data: PromptDataModule, module: GRPOModule, rows: np.ndarray | None) -> SignalScores | None:
        signal = components.signal
        if signal is None:
            return None
        with module.rolling_out() if signal.cost == "rollouts" else nullcontext():
            return found(signal, data, module, rows)

    def found(signal: Signal, data: PromptDataModule, module: GRPOModule, rows: np.ndarray | None) -> SignalScores:
        if rows is not None:
            values = _values_of_rows(signal, components, data, module, rows)
        else:
            prompts = data.template.encode_problems(list(data.problems))
            plain = plain_config(config)
            extracted = extract(
                {signal.name: signal},
                data.problems,
                prompts,
                module.policy,
                engine=components.engine,
                reward=components.reward,
                cache_dir=cache_dir() / "signals",
                progress=reporter(console),
                rollout_key=json.dumps([plain["rollout"], plain["reward"]], sort_keys=True),
                rank=module.ranks.rank,
                world_size=module.ranks.size,
                gather=module.ranks.gather,
                step=module.counters.step,
            )
            values = extracted.values[signal.name]
            if signal.cost != "none":  # cached or not, so that a run does not depend on earlier ones
                module.clock.count(sum(map(len, prompts)))
        return SignalScores(signal.name, np.asarray(values, np.float64), signal.learn_first)

    return measure


def concentration_measure(components: Components) -> MeasureConcentration | None:
    """Measures the concentration of an epoch whose updates ran no prompt, by a pass of its own.

    Of the epoch's prompts, or where completions count as well, of the last step's prompts and completions.
    """
    if components.concentration is None:
        return None
    if components.concentration.with_completions:
        return _with_completions
    angle = components.concentration.angle

    def measure(data: PromptDataModule, module: GRPOModule, rows: np.ndarray) -> Mapping[int, float]:
        return by_row(rows.tolist(), _values_of_rows(angle, components, data, module, rows))

    return measure


def states_measure(components: Components) -> MeasureStates | None:
    """Measures the hidden states that the curriculum reads; None for one that reads none.

    Raises ConfigError for states that no model has.
    """
    wanted = getattr(components.curriculum, "wanted_states", None)
    if wanted is None:
        return None
    try:
        reader = QuestionStates(Tap(wanted.activation, wanted.layer))
    except ValueError as fault:
        raise ConfigError(str(fault).replace("signal.", "curriculum.")) from fault

    def measure(data: PromptDataModule, module: GRPOModule, rows: np.ndarray) -> np.ndarray:
        prompts = data.prompts(rows)
        module.clock.count(sum(map(len, prompts)))

        def compute(places: Sequence[int]) -> list[np.ndarray]:
            return list(reader.read([prompts[place] for place in places], module.policy))

        return np.stack(module.ranks.map(compute, range(len(rows))))

    return measure


def _with_completions(data: PromptDataModule, module: GRPOModule, rows: np.ndarray) -> Mapping[int, float]:
    assert module.experience is not None
    return module.learner.watch.measure(module.experience, module.learner.scorer)


def _values_of_rows(
    signal: Signal, components: Components, data: PromptDataModule, module: GRPOModule, rows: np.ndarray
) -> np.ndarray:
    problems = [data.problems[int(row)] for row in rows]
    prompts = data.template.encode_problems(problems)
    if signal.cost != "none":
        module.clock.count(sum(map(len, prompts)))

    def compute(places: Sequence[int]) -> list[float]:
        some, their_prompts = [problems[place] for place in places], [prompts[place] for place in places]
        values = signal.compute(
            some,
            their_prompts,
            module.policy,
            engine=components.engine,
            reward=components.reward,
            rows=rows[list(places)],
            step=module.counters.step,
        )
        return values.tolist()

    return np.asarray(module.ranks.map(compute, range(len(rows))))
