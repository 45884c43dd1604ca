"""``gainrl-fetch``: brings a model of the package index, or of a ``.gguf`` file, into the cache."""

from __future__ import annotations

from gainrl.app.runtime import prepare_process

prepare_process()  # before torch is imported

import sys
from functools import partial

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from gainrl.app.commandline.command import Command, run_command
from gainrl.app.errors import ConfigError
from gainrl.app.paths import config_dir
from gainrl.app.refusals import exit_code, refusals
from gainrl.app.validate import validate

COMMAND = Command("gainrl-fetch", "fetch", "Cannot fetch")


def cli() -> None:
    """The console script; exits with 1 if the model cannot be fetched, with 75 if it was interrupted."""
    sys.exit(run_command(COMMAND, main) or exit_code())


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="fetch")
def main(config: DictConfig) -> None:
    with refusals(COMMAND.cannot):
        fetch(config, Console(soft_wrap=not sys.stdout.isatty()))


def fetch(config: DictConfig, console: Console) -> str:
    """Fetches the model and returns its folder. Raises ConfigError for a model that is fetched in another way."""
    validate(config, "fetch")
    source = instantiate(config.model, _convert_="all")
    if not hasattr(source, "fetch"):
        raise ConfigError("this model is built in code: there is nothing to fetch")
    folder = source.fetch(partial(console.print, style="dim", highlight=False))
    if folder is None:
        raise ConfigError(
            f"model.source={source.source} is not a packaged or .gguf model. A model of the hub is fetched by the "
            f"first command that uses it, or by: hf download {source.source}"
        )
    console.print(f"{source.source.partition('#')[0]} is ready: {folder}", highlight=False)
    return folder


if __name__ == "__main__":
    cli()
