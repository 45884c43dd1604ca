"""``gainrl-observe``: the observations behind GAIN-RL as figures, on a model or on a finished run."""

from __future__ import annotations

from gainrl.app.runtime import prepare_process

prepare_process()  # before torch is imported

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from gainrl.app.commandline.command import Command, run_command
from gainrl.app.errors import ConfigError
from gainrl.app.paths import config_dir
from gainrl.app.refusals import exit_code, refusals
from gainrl.app.runtime import quieten
from gainrl.app.validate import validate

if TYPE_CHECKING:  # imports torch: only when used, so that a refusal does not wait for it
    from gainrl.app.observations.subject import Subject

COMMAND = Command("gainrl-observe", "observe", "Cannot observe", hidden=("reward",))


def cli() -> None:
    """The console script; exits with 1 if a figure could not be drawn, with 75 if it was interrupted."""
    sys.exit(run_command(COMMAND, main) or exit_code())


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="observe")
def main(config: DictConfig) -> None:
    with refusals(COMMAND.cannot):
        observe(config, Console(soft_wrap=not sys.stdout.isatty()))  # in a log file a line stays a line


def observe(config: DictConfig, console: Console) -> list[Path]:
    """Draws the figures and returns their files. Raises ConfigError before a model is loaded if one cannot be drawn."""
    validate(config, "observe")
    from gainrl.app.observations.figures import FIGURES
    from gainrl.app.observations.subject import find_subject

    quieten()
    subject = find_subject(config, console)
    names = _chosen(config, subject)
    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    drawn = []
    for name in names:
        with console.status(name):
            drawn += FIGURES[name](config, subject, folder)
        console.print(f"{folder / name}.png", highlight=False)
    return drawn


def _chosen(config: DictConfig, subject: Subject) -> list[str]:
    """The figures asked for, or all that can be drawn; raises ConfigError for one that cannot."""
    from gainrl.app.observations.figures import FIGURES, READ_OF_A_RUN

    missing = {
        name: file
        for name, file in READ_OF_A_RUN.items()
        if subject.folder is None or not (subject.folder / file).is_file()
    }
    if config.figures is None:
        return [name for name in FIGURES if name not in missing]
    names = list(config.figures)
    for name in names:
        if name not in FIGURES:
            raise ConfigError(f"figures={name} is unknown; type figures=[{','.join(FIGURES)}] or some of them")
        if name in missing:
            where = "a run: type run=DIR" if subject.folder is None else f"{missing[name]}, which {config.run} lacks"
            raise ConfigError(f"figures={name} is drawn from {where}")
    return names


if __name__ == "__main__":
    cli()
