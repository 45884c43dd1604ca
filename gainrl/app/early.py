"""Refuses what it can without torch, before slow imports: wrong values, missing files, light components."""

from __future__ import annotations

from pathlib import Path

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from gainrl.app.errors import ConfigError, first_cause
from gainrl.app.trackers import check_trackers
from gainrl.app.value_types import check_value_types, mistyped
from gainrl.datasets.json_lines import existing_file
from gainrl.functional.batch_sizes import check_group_size, minibatch_size
from gainrl.models.model_files import check_model_files
from gainrl.types import SamplingParams

_LIGHT = (
    "gainrl.curricula.",
    "gainrl.admission.",
    "gainrl.allocation.",
    "gainrl.datasets.templates.",
    "gainrl.rewards.custom.",
)
_GROUPS = ("curriculum", "admission", "allocation", "template", "reward")
NO_RUN = "run={} holds no config.yaml; give a directory that gainrl-train wrote"
NO_CHECKPOINT = "resume={} is neither a checkpoint nor a run directory with one"


def check_early(config: DictConfig) -> None:
    """Raises ConfigError for all faults that show without torch, in any command."""
    check_value_types(config, imports=False)
    if "logger" in config:
        check_trackers(config)
    try:
        if "algorithm" in config:
            _check_sizes(config)
        _check_files(config)
    except ValueError as fault:
        raise ConfigError(str(fault)) from fault
    for group in _GROUPS:
        _try(config, group)


def _check_sizes(config: DictConfig) -> None:
    algorithm = config.algorithm
    if "advantage" in algorithm and "group_size" in algorithm:
        check_group_size(algorithm.group_size, compares=algorithm.advantage.get("baseline") not in ("none", "tracker"))
        build_sampling(config, algorithm.group_size)
    minibatch_size(algorithm.get("minibatch_prompts"), config.schedule.prompts_per_step)


def build_sampling(config: DictConfig, group_size: int) -> SamplingParams:
    """How training draws completions. Raises ConfigError if all completions of a group would be equal."""
    names = ("max_new_tokens", "temperature", "top_p", "top_k")
    sampling = SamplingParams(group_size=group_size, **{name: config.rollout[name] for name in names})
    if sampling.temperature <= 0:
        raise ConfigError(
            f"rollout.temperature={sampling.temperature} gives {sampling.group_size} equal completions per prompt, "
            "which cannot be compared; type rollout.temperature=1.0"
        )
    return sampling


def _check_files(config: DictConfig) -> None:
    if config.get("resume") is not None and not Path(config.resume).exists():
        raise ConfigError(NO_CHECKPOINT.format(config.resume))
    run = config.get("run")
    if isinstance(run, str) and not (Path(run).expanduser() / "config.yaml").is_file():
        raise ConfigError(NO_RUN.format(run))
    node = config.get("dataset")
    if isinstance(node, DictConfig) and node.get("_target_") == "gainrl.datasets.jsonl.jsonl":
        if node.get("train") is None and ("algorithm" in config or node.get("held_out") is None):
            other = "" if "algorithm" in config else ", or dataset.held_out=mine.jsonl"
            raise ConfigError(f"dataset=jsonl has no file to read; type dataset.train=mine.jsonl{other}")
        for name in ("train", "held_out"):
            if node.get(name) is not None:
                existing_file(node[name])
    node = config.get("model")
    if isinstance(node, DictConfig) and node.get("_target_") == "gainrl.models.hub.HubModel":
        source = str(node.source)
        if not source.endswith(".gguf") and ":" not in source:  # single files, which are fetched and unpacked first
            check_model_files(source, node.get("chat_template"))


def _try(config: DictConfig, group: str) -> None:
    node = OmegaConf.select(config, group, default=None)
    if isinstance(node, DictConfig) and str(node.get("_target_", "")).startswith(_LIGHT):
        problems = list(mistyped(OmegaConf.to_container(node, resolve=True), group))
        if problems:
            raise ConfigError("\n".join(problems))
        try:
            instantiate(node, _convert_="all")
        except InstantiationException as fault:
            raise ConfigError(first_cause(fault)) from fault
