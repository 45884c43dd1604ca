"""What was probably meant by a file or a hub id in place of an option, and by names that other libraries use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from gainrl.app.nearest import nearest
from gainrl.app.paths import config_dir

_OF_ONES_OWN = (
    ("reward", r".+:\w+", r"reward=custom reward.path=\g<0>"),
    ("reward", r".+\.py", r"reward=custom reward.path=\g<0>:score (the function's name after the colon)"),
    ("reward", r"([\w.]+)\.(\w+)", r"reward=custom reward.path=\1:\2"),
    ("dataset", r".+\.json.*", r"dataset=jsonl dataset.train=\g<0>"),
    ("model", r".*/.*", r"model=hub model.source=\g<0>"),
)
# Words in use elsewhere for an option.
_OTHER_OPTIONS = {
    ("curriculum", "random"): "uniform",
    ("curriculum", "none"): "uniform",
    ("baseline", "uniform"): "vanilla_grpo",
    ("logger", "false"): "none",
    ("logger", "off"): "none",
    ("signal", "none"): "random",  # free, and curricula that sort by nothing leave it alone
    ("signal", "null"): "random",
}
_EMPTY_BY_DEFAULT = ("experiment", "debug", "window", "sweep")
# What other libraries call a setting.
ALSO_CALLED = {
    "batch_size": "schedule.prompts_per_step", "train_batch_size": "schedule.prompts_per_step",
    "per_device_train_batch_size": "algorithm.micro_batch_size", "max_steps": "schedule.steps",
    "lr": "optimizer.optimizer.lr", "learning_rate": "optimizer.optimizer.lr",
    "num_generations": "algorithm.group_size", "max_tokens": "rollout.max_new_tokens",
    "max_completion_length": "rollout.max_new_tokens", "device": "trainer.accelerator",
    "gpus": "trainer.devices", "trainer.gpus": "trainer.devices", "output_dir": "hydra.run.dir",
    "beta": "algorithm.objective.beta", "kl": "algorithm.objective.beta", "kl_coef": "algorithm.objective.beta",
}  # fmt: skip
EPOCHS = ("epochs", "num_epochs", "num_train_epochs", "total_epochs", "max_epochs")


def meant_option(group: str, name: str, known: Sequence[str]) -> str | None:
    """What to type in place of something that is not the name of an option; None if the nearest name says it best.

    ``known``: the options of the group.
    """
    if (group, name) in _OTHER_OPTIONS:
        return f"type {group}={_OTHER_OPTIONS[group, name]}"
    if name == "null" and group in _EMPTY_BY_DEFAULT:
        return f"leave {group} out: nothing is chosen by default"
    if name == "null" and (config_dir() / group / "none.yaml").exists():
        return f"type {group}=none"
    for owner, pattern, advice in _OF_ONES_OWN:
        found = re.fullmatch(pattern, name)
        if group == owner and found:
            return f"type {found.expand(advice)}"
    if name.endswith(".yaml"):
        return f"options are typed without .yaml; type {group}={PurePath(name).stem} with --config-dir if it is yours"
    if group == "model" and not nearest(name, known):
        return f"type model=hub model.source={name} for a model of the hub; the options are {', '.join(known)}"
    return None
