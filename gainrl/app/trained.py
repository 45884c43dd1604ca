"""The policy and settings that ``gainrl-evaluate run=<directory>`` takes from a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from gainrl.app.early import NO_RUN
from gainrl.app.errors import ConfigError
from gainrl.app.identity import RunRecord
from gainrl.training.upkeep.checkpoints import UnreadableCheckpoint, read_checkpoint, shards_of
from gainrl.training.upkeep.shards import filled
from gainrl.training.upkeep.state import frozen_names
from gainrl.types import Policy

_TAKEN = ("template", "reward", "dataset", "rollout", "data_dir")
_HUB = "gainrl.models.hub.HubModel"


def with_run_settings(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration with the run's settings in place of the defaults; ``overrides``, as typed, have the last word.

    The model is the run's exported policy, or, where ``checkpoint`` names one, the model that the run started from.
    Raises ConfigError if the directory lacks what is needed.
    """
    folder = Path(config.run).expanduser()
    stored_path = folder / "config.yaml"
    if not stored_path.is_file():
        raise ConfigError(NO_RUN.format(config.run))
    stored = OmegaConf.load(stored_path)
    assert isinstance(stored, DictConfig)
    typed = OverridesParser.create().parse_overrides(list(overrides))
    chosen = {str(override.key_or_group) for override in typed}
    with open_dict(config):
        for name in _TAKEN:
            if name not in chosen and OmegaConf.select(stored, name) is not None:
                config[name] = stored[name]
        if "model" not in chosen:
            config.model = stored.model if config.checkpoint else _exported(folder, config, stored)
            if config.checkpoint:
                checkpoint_file(config)
                if "warm_start" in config.model and not config.model.get("lora_rank"):
                    config.model.warm_start = None  # the checkpoint replaces all weights that it would give
        for override in typed:
            key = str(override.key_or_group)
            if key.split(".")[0] in (*_TAKEN, "model") and "." in key and not override.is_delete():
                OmegaConf.update(config, key, override.value(), merge=False)
        record = RunRecord(folder).content
        config.trained = {
            "fingerprint": record.get("fingerprint"),
            "steps": (record.get("metrics") or {}).get("steps"),
            "checkpoint": config.checkpoint,
        }
    return config


def _exported(folder: Path, config: DictConfig, stored: Any) -> dict[str, Any]:
    policy = folder / "policy"
    if not (policy / "config.json").is_file():
        status = RunRecord(folder).status or "without a record"
        raise ConfigError(
            f"run={config.run} ({status}) has exported no policy yet; finish it by repeating its command, or type "
            "checkpoint=<file> to evaluate one of its checkpoints"
        )
    kept = ("dtype", "attention", "stop_tokens") if stored.model.get("_target_") == _HUB else ()
    return {"_target_": _HUB, "source": str(policy), **{key: stored.model[key] for key in kept if key in stored.model}}


def checkpoint_file(config: DictConfig) -> Path:
    """The checkpoint's file: as given, or by its name in the run's folder ``checkpoints``; ConfigError if missing."""
    given = Path(config.checkpoint).expanduser()
    found = [path for path in (given, Path(config.run).expanduser() / "checkpoints" / given) if path.is_file()]
    if not found:
        there = sorted(path.name for path in (Path(config.run).expanduser() / "checkpoints").glob("*.ckpt"))
        raise ConfigError(
            f"checkpoint={config.checkpoint} is neither a file nor a checkpoint of run={config.run}, which has "
            f"{', '.join(there) or 'none'}"
        )
    return found[0]


def load_checkpoint(policy: Policy, path: Path) -> None:
    """Puts the weights of a run's checkpoint into the policy; weights of anything else (a critic) are left out.

    Weights that did not train (the model below LoRA adapters) are not in the file and stay what they are. Raises
    ConfigError for a file that cannot be read or belongs to another model.
    """
    prefix = "model."
    try:
        state = read_checkpoint(path)
        stored = filled(state["weights"], shards_of(state), lambda keys, mark: None)
    except UnreadableCheckpoint as fault:
        raise ConfigError(str(fault)) from fault
    weights = {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
    own = policy.model.state_dict()
    frozen = frozen_names(policy.model)
    other = sorted(
        {name for name in own if name not in weights and name not in frozen}
        | {name for name, value in weights.items() if name not in own or own[name].shape != value.shape}
    )
    if other:
        raise ConfigError(
            f"{path} holds the weights of another model: {', '.join(other[:3])}"
            f"{f' and {len(other) - 3} more' if len(other) > 3 else ''} differ; give the run's own settings of model="
        )
    policy.model.load_state_dict(weights, strict=False)
