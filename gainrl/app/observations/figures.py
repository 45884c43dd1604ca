"""The figures of ``gainrl-observe`` by name: each is computed, written as a table and drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from gainrl.app.errors import ConfigError
from gainrl.app.observations.epochs import draw_epochs, of_fixed_prompts, of_trained_prompts
from gainrl.app.observations.gradients import associations, draw_gradients, gradients_table
from gainrl.app.observations.maps import cosine_maps, depth_taps, draw_maps, maps_table, tokens_table
from gainrl.app.observations.quartiles import completions, draw_quartiles, quartiles_table, start_concentration
from gainrl.app.observations.subject import Subject


def _maps(config: DictConfig, subject: Subject, folder: Path) -> list[Path]:
    row = subject.median_row() if config.prompt is None else config.prompt
    if not 0 <= row < len(subject.problems):
        raise ConfigError(f"prompt={row} is not a row of the {len(subject.problems)} training problems")
    (prompt,) = subject.prompts(np.array([row]))
    chosen = [subject.start, *subject.stages[1:][-1:]]
    maps = {}
    for stage in chosen:
        policy = stage.load()
        taps = depth_taps(policy.model, config.activation, config.depths)
        maps[stage.label] = cosine_maps(policy, prompt, taps)
    maps_table(maps, taps).to_csv(folder / "maps.csv", index=False)
    tokens_table(prompt, policy.tokenizer).to_csv(folder / "tokens.csv", index=False)
    title = f"Angles between the tokens of one prompt ({subject.problems[row].id}), by depth"
    draw_maps(folder / "maps.png", maps, taps, prompt, title=title)
    return [folder / "maps.png"]


def _epochs(config: DictConfig, subject: Subject, folder: Path) -> list[Path]:
    assert subject.folder is not None
    assert subject.steps_per_epoch is not None
    rows = subject.sample(config.problems, config.seed)
    fixed = [
        of_fixed_prompts(subject, stage, policy, rows, config.activation) for stage, policy in subject.with_policies()
    ]
    table = pd.concat([of_trained_prompts(subject.folder, subject.steps_per_epoch), *fixed], ignore_index=True)
    table.to_csv(folder / "epochs.csv", index=False)
    draw_epochs(folder / "epochs.png", table, title="Angle concentration over training")
    return [folder / "epochs.png"]


def _quartiles(config: DictConfig, subject: Subject, folder: Path) -> list[Path]:
    assert subject.folder is not None
    assert subject.steps_per_epoch is not None
    drawn = completions(subject.folder, subject.steps_per_epoch)
    table = quartiles_table(drawn, start_concentration(subject, subject.start.load(), config.activation))
    table.to_csv(folder / "quartiles.csv", index=False)
    draw_quartiles(folder / "quartiles.png", table, title="Accuracy over training by concentration before it")
    return [folder / "quartiles.png"]


def _gradients(config: DictConfig, subject: Subject, folder: Path) -> list[Path]:
    table = gradients_table(
        subject,
        subject.start.load(),
        subject.sample(config.problems, config.seed),
        activation=config.activation,
        answer_template=config.answer_template,
    )
    table.to_csv(folder / "gradients.csv", index=False)
    found = associations(table, resamples=config.resamples, seed=config.seed)
    found.to_csv(folder / "gradients_associations.csv", index=False)
    title = f"Angle concentration and gradient norm of {len(table)} prompts, before training"
    draw_gradients(folder / "gradients.png", table, found, title=title)
    return [folder / "gradients.png"]


FIGURES: dict[str, Callable[[DictConfig, Subject, Path], list[Path]]] = {
    "maps": _maps,
    "epochs": _epochs,
    "quartiles": _quartiles,
    "gradients": _gradients,
}
READ_OF_A_RUN = {"epochs": "metrics.csv", "quartiles": "rollouts.jsonl"}  # by figure
