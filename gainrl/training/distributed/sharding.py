"""Training in shards (FSDP2): every rank keeps a part of each weight, of its gradient and of its optimizer state.

What trains is a sharded copy of the policy. The policy itself stays whole on every rank and gets the new weights after
each step: rollouts, whose loops end at other lengths on each rank, signals, evaluation, checkpoints and the export use
it and wait for nobody. The price is one whole copy of the weights per rank, without gradients or optimizer state.

A forward through shards meets all ranks at each layer, so that all ranks must make equally many: `passes`.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from gainrl.functional.objectives import add_sums
from gainrl.models.scoring import Scored
from gainrl.training.distributed.ranks import Ranks

_INSIDE = "run_with_whole_weights"


def shard(model: nn.Module, mesh: Any) -> Any:
    """A copy of a causal language model in shards over ``mesh``, layer by layer; call it through `inside`."""
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    sharded: Any = copy.deepcopy(model)
    kinds = set(getattr(model, "_no_split_modules", None) or ())
    for layer in [module for module in sharded.modules() if type(module).__name__ in kinds]:
        fully_shard(layer, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    # The scoring forward reads the embedding and the output layer by themselves: whole weights must be there around it.
    setattr(sharded, _INSIDE, types.MethodType(lambda self, work: work(), sharded))
    register_fsdp_forward_method(sharded, _INSIDE)
    return sharded


def is_sharded(model: nn.Module) -> bool:
    return hasattr(model, _INSIDE)


def inside(model: nn.Module, work: Callable[[], Scored]) -> Scored:
    """``work()``, which runs a forward of ``model``, sharded or not."""
    if not is_sharded(model):
        return work()

    def parts() -> tuple[Tensor | None, ...]:
        scored = work()
        return scored.logprobs, scored.entropies, scored.values

    return Scored(*getattr(model, _INSIDE)(parts))


def passes(parts: Sequence[Tensor], ranks: Ranks, model: nn.Module) -> Iterator[tuple[Tensor, bool]]:
    """``parts``, each with True.

    If ``model`` is in shards, ranks with fewer parts than others also get the first row, with False: it must run, and
    its result must not count.
    """
    idle = max(ranks.gather(len(parts))) - len(parts) if is_sharded(model) else 0  # asked before anybody runs
    yield from ((part, True) for part in parts)
    yield from ((torch.zeros(1, dtype=torch.int64), False) for _ in range(idle))


def undo_average(model: nn.Module, ranks: Ranks) -> None:
    """Turns the mean over ranks that a backward through shards leaves into the sum."""
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(ranks.size)


def sum_over_ranks(
    sums: dict[str, Any], loss: float, module: nn.Module, model: nn.Module, ranks: Ranks
) -> tuple[dict[str, Any], float]:
    """Additive sums and loss of all ranks, equal everywhere; adds up the gradients of ``module`` in place.

    ``model``: its part that may be in shards.
    """
    if ranks.size == 1:
        return sums, loss
    if is_sharded(model):
        undo_average(model, ranks)
    ranks.sum_gradients(module.parameters())
    parts = ranks.gather(({name: value.cpu() for name, value in sums.items()}, loss))
    total: dict[str, Any] = {}
    for part, _ in parts:
        total = add_sums(total, part)
    return total, sum(part for _, part in parts)


@torch.no_grad()
def give_weights(sharded: Any, model: nn.Module) -> None:
    """Copies the weights that train into the whole model; every rank must call it."""
    reshard(sharded)
    for new, old in zip(sharded.parameters(), model.parameters(), strict=True):
        if new.requires_grad:
            old.copy_(new.full_tensor())


def reshard(sharded: Any) -> None:
    """Lets go of whole weights that a forward without a backward has left."""
    for module in sharded.modules():
        if hasattr(module, "reshard"):
            module.reshard()


def whole(state: Any, *, keep: bool = True) -> Any:
    """A state with whole tensors, in memory of the host, in place of shards; every rank must call it.

    They are put together one at a time, so that no device holds more than one of them; without ``keep`` (on ranks that
    write nothing) each is let go again, and None takes its place.
    """
    if isinstance(state, DTensor):
        full = state.full_tensor()
        return full.cpu() if keep else None
    if isinstance(state, Mapping):
        return {key: whole(value, keep=keep) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(whole(value, keep=keep) for value in state)
    return state


def in_shards(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> Mapping[str, Any]:
    """The state of an optimizer whose parameters may be shards, from one with whole tensors."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not any(isinstance(parameter, DTensor) for parameter in parameters):
        return state

    def part(value: Any, parameter: Any) -> Any:
        if not (isinstance(parameter, DTensor) and isinstance(value, Tensor) and value.shape == parameter.shape):
            return value
        return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)

    held = {
        index: {name: part(value, parameters[index]) for name, value in values.items()}
        for index, values in state["state"].items()
    }
    return {**state, "state": held}
