"""What was probably meant by a file or a hub id in place of an option, and by names that other libraries use."""

from __future__ import annotations

from pathlib import PurePath

from gainrl.app.paths import config_dir

_OF_ONES_OWN = (
    ("reward", ":", "reward=custom reward.path={}"),
    ("dataset", ".json", "dataset=jsonl dataset.train={}"),
    ("model", "/", "model=hub model.source={}"),
)
_EMPTY_BY_DEFAULT = ("experiment", "debug", "window", "sweep")
# What other libraries call a setting.
ALSO_CALLED = {
    "batch_size": "schedule.prompts_per_step", "train_batch_size": "schedule.prompts_per_step",
    "per_device_train_batch_size": "algorithm.micro_batch_size", "epochs": "schedule.steps",
    "num_train_epochs": "schedule.steps", "max_steps": "schedule.steps", "learning_rate": "optimizer.optimizer.lr",
    "num_generations": "algorithm.group_size", "max_tokens": "rollout.max_new_tokens",
    "max_completion_length": "rollout.max_new_tokens", "device": "trainer.accelerator",
    "gpus": "trainer.devices", "trainer.gpus": "trainer.devices", "output_dir": "hydra.run.dir",
    "beta": "algorithm.objective.beta", "kl_coef": "algorithm.objective.beta",
}  # fmt: skip


def meant_option(group: str, name: str) -> str | None:
    """What to type in place of something that is not the name of an option; None if the nearest name says it best."""
    if name == "null" and group in _EMPTY_BY_DEFAULT:
        return f"leave {group} out: nothing is chosen by default"
    if name == "null" and (config_dir() / group / "none.yaml").exists():
        return f"type {group}=none"
    for owner, sign, form in _OF_ONES_OWN:
        if group == owner and sign in name:
            return f"type {form.format(name)}"
    if name.endswith(".yaml"):
        return f"options are typed without .yaml; type {group}={PurePath(name).stem} with --config-dir if it is yours"
    return None
