"""All that moves in a run, as one plain dict, and back again.

The state belongs to the border between two steps, and there are no generators in it: all randomness is a function of
seed and counters (`functional.streams`). Lightning's own loop counters are left out on purpose: the sampler goes on in
the middle of an epoch by `PromptPool.step`, and the trainer is given the epochs that remain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.distributed.tensor import DTensor

from gainrl.models.four_bit import packed_names
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.distributed.sharding import in_shards
from gainrl.training.grpo import GRPOModule
from gainrl.training.upkeep.checkpoints import shards_of
from gainrl.training.upkeep.shards import filled


def collect_state(trainer: lightning.Trainer, module: GRPOModule) -> dict[str, Any]:
    """Weights that train, optimizers, schedules, counters, pool, curriculum and callbacks.

    Parameters without gradients (the model below LoRA adapters) come from their source and are left out. Where a model
    trains in shards, its weights and optimizer states are in shards here too: `training.upkeep.shards` writes them.
    """
    frozen = frozen_names(module)
    data: PromptDataModule = trainer.datamodule  # type: ignore[attr-defined]
    callbacks: Sequence[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    weights = dict(module.state_dict())
    if module.whole is not None:  # what trains, not what rollouts read of it
        weights |= {f"model.{name}": value for name, value in module.trained.model.state_dict().items()}
    elif module.masters is not None:
        weights |= {f"model.{name}": value for name, value in module.masters.named(module.model).items()}
    weights = {name: value for name, value in weights.items() if name not in frozen}
    state: dict[str, Any] = {
        "weights": weights,
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "schedules": [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs],
        "precision": trainer.precision_plugin.state_dict(),
        "data": data.state_dict(),
        "callbacks": {callback.state_key: held for callback in callbacks if (held := callback.state_dict())},
    }
    module.on_save_checkpoint(state)
    return state


def restore_state(
    state: Mapping[str, Any], module: GRPOModule, data: PromptDataModule, callbacks: Sequence[Callback]
) -> None:
    """Everything but optimizers and schedules, which the trainer creates later (`restore_optimizers`).

    Call it before the fit, on a module whose reference policy has been made from the weights at the start. Raises
    ValueError if the weights do not belong to the model.
    """
    if module.reference is not None:
        module.reference.keep()
    own = module.state_dict()
    # Shards are read into the module's own tensors, so that there is no second copy of them.
    weights = filled(state["weights"], shards_of(state), lambda keys, mark: _as_whole(own.get(keys[0]), mark))
    missing, unexpected = module.load_state_dict(weights, strict=False)
    frozen = frozen_names(module)
    missing = [name for name in missing if name not in frozen]
    if missing or unexpected:
        raise ValueError(f"the checkpoint belongs to another model: {_some(missing)} missing, {_some(unexpected)} new")
    module.on_load_checkpoint(dict(state))
    data.load_state_dict(state["data"])
    for callback in callbacks:
        if callback.state_key in state["callbacks"]:
            callback.load_state_dict(state["callbacks"][callback.state_key])


def restore_optimizers(state: Mapping[str, Any], trainer: lightning.Trainer) -> None:
    """Call it when the trainer has made its optimizers and moved the model to its device."""
    for optimizer, stored in zip(trainer.optimizers, state["optimizers"], strict=True):
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

        def like(keys: tuple[str, ...], mark: Mapping[str, Any], parameters: Any = parameters) -> torch.Tensor | None:
            """Shards as those of the parameter to which a state belongs: ("state", its number, name)."""
            parameter = parameters[int(keys[1])]
            return torch.empty_like(parameter.detach()) if isinstance(parameter, DTensor) else None

        held = filled(stored, shards_of(state), like)
        optimizer.load_state_dict(_owned(in_shards(held, optimizer)))
    for config, stored in zip(trainer.lr_scheduler_configs, state["schedules"], strict=True):
        config.scheduler.load_state_dict(stored)
    trainer.precision_plugin.load_state_dict(state["precision"])


def _as_whole(tensor: torch.Tensor | None, mark: Mapping[str, Any]) -> torch.Tensor | None:
    """The tensor where it has the shape of what a mark stands for; another model has other names."""
    return tensor.detach() if tensor is not None and list(tensor.shape) == mark["shape"] else None


def _owned(state: Any) -> Any:
    """A state whose tensors are copies: those of a checkpoint lie in its file, which may be removed."""
    if isinstance(state, DTensor):
        return state
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, Mapping):
        return {key: _owned(value) for key, value in state.items()}
    return type(state)(map(_owned, state)) if isinstance(state, list | tuple) else state


def remaining_epochs(step: int, *, steps_per_epoch: int, total_steps: int) -> int:
    """Epochs that a run at ``step`` has before it, the rest of the current one included."""
    return -(-total_steps // steps_per_epoch) - step // steps_per_epoch


def frozen_names(module: nn.Module) -> set[str]:
    """Names in a state of what has no gradient and stays what it is, which checkpoints leave out."""
    frozen = {name for name, value in module.named_parameters(remove_duplicate=False) if not value.requires_grad}
    return frozen | packed_names(module)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) or "nothing"
