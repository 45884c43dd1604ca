"""Parts that are built without torch, tried before anything slow is imported: a wrong value is refused at once."""

from __future__ import annotations

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from gainrl.app.errors import ConfigError, first_cause
from gainrl.app.value_types import mistyped

_LIGHT = (
    "gainrl.curricula.",
    "gainrl.admission.",
    "gainrl.allocation.",
    "gainrl.datasets.templates.",
    "gainrl.rewards.custom.",
)
_GROUPS = ("curriculum", "admission", "allocation", "template", "reward")


def try_light_parts(config: DictConfig) -> None:
    """Raises ConfigError with what the constructors say of their values."""
    for group in _GROUPS:
        node = OmegaConf.select(config, group, default=None)
        if isinstance(node, DictConfig) and str(node.get("_target_", "")).startswith(_LIGHT):
            problems = list(mistyped(OmegaConf.to_container(node, resolve=True), group))
            if problems:
                raise ConfigError("\n".join(problems))
            try:
                instantiate(node, _convert_="all")
            except InstantiationException as fault:
                raise ConfigError(first_cause(fault)) from fault
