"""Training in shards (FSDP2): every rank keeps a part of each weight, of its gradient and of its optimizer state.

What trains is a sharded copy of the policy, made layer by layer from the weights that were loaded. The policy itself
stays whole on every rank, for rollouts, whose loops end at other lengths on each rank, for signals and for evaluation,
which wait for nobody. It holds no memory while the step is learned from (`WholeCopy`), and gets the new weights after
it. In mixed precision its linear layers are kept as autocast reads them, in half the memory.

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


def shard(model: nn.Module, mesh: Any, *, mixed: torch.dtype | None = None, trains: bool = True) -> Any:
    """A copy of a causal language model in shards over ``mesh``, layer by layer; call it through `inside`.

    No second whole copy exists on the way: each layer's share is copied from the weights of ``model``, which stay as
    they are. ``mixed``: the precision in which layers are gathered and multiply, for a model that runs under autocast;
    shards, gradients and their sums stay float32. Without ``trains`` nothing has a gradient (a reference).
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    sharded: Any = _alias(model, trains=trains)
    # The hidden states between the layers stay float32, as autocast leaves them.
    low = MixedPrecisionPolicy(param_dtype=mixed, reduce_dtype=mixed and torch.float32, cast_forward_inputs=False)
    kinds = set(getattr(model, "_no_split_modules", None) or ())
    for layer in [module for module in sharded.modules() if type(module).__name__ in kinds]:
        fully_shard(layer, mesh=mesh, mp_policy=low)
    fully_shard(sharded, mesh=mesh)  # embeddings, the last norm and the head, which autocast reads in float32
    # The scoring forward reads the embedding and the output layer by themselves: whole weights must be there around it.
    setattr(sharded, _INSIDE, types.MethodType(lambda self, work: work(), sharded))
    register_fsdp_forward_method(sharded, _INSIDE)
    return sharded


def _alias(model: nn.Module, *, trains: bool) -> nn.Module:
    """A copy of ``model`` whose parameters are new but share its memory."""
    memo = {id(p): nn.Parameter(p.detach(), requires_grad=trains and p.requires_grad) for p in model.parameters()}
    return copy.deepcopy(model, memo)


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


class WholeCopy:
    """The policy ``model`` beside its shards: filled for rollouts, released while the step is learned from.

    ``mixed``: the precision in which autocast reads linear layers, or None; embeddings and norms stay float32.
    """

    def __init__(self, sharded: Any, model: Any, *, mixed: torch.dtype | None = None) -> None:
        self.sharded, self.model = sharded, model
        if mixed is not None:
            lower_linear(model, mixed)
        self._shapes = [parameter.shape for parameter in model.parameters()]
        self.held = True

    @torch.no_grad()
    def fill(self, *, always: bool = True) -> None:
        """Takes the current weights; every rank must call it. Unless ``always``, only where they were released."""
        if self.held and not always:
            return
        reshard(self.sharded)
        pairs = zip(self.sharded.parameters(), self.model.parameters(), self._shapes, strict=True)
        for new, old, shape in pairs:
            if self.held and not new.requires_grad:
                continue
            if not self.held:
                old.data = old.new_empty(shape)
            old.copy_(new.detach().to(old.dtype).full_tensor())
        self.held = True

    def release(self) -> None:
        """Gives back the memory; the model cannot run until it is filled again."""
        for parameter in self.model.parameters():
            parameter.data = parameter.new_empty(0)
        self.held = False

    @torch.no_grad()
    def take_masters(self, *, keep: bool) -> None:
        """Leaves the float32 weights that trained in the model, in memory of the host, where ``keep``.

        Every rank must call it; whoever does not keep them has an empty model.
        """
        self.release()
        reshard(self.sharded)
        masters = (whole(parameter.detach(), keep=keep) for parameter in self.sharded.parameters())
        for master, old in zip(masters, self.model.parameters(), strict=True):
            if keep:
                old.data = master
        if keep:
            self.model.to("cpu")  # the buffers
            self.held = True


def lower_linear(model: Any, dtype: torch.dtype) -> None:
    """Keeps the float32 weights of linear layers in ``dtype``, all but those of embeddings and of the output layer.

    Under autocast to ``dtype`` the model computes the same bits, since autocast casts exactly these. The output layer
    is read in float32 (`functional.logprobs`).
    """
    ends = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    ends += [head] if (head := model.get_output_embeddings()) is not None else []
    kept = {id(weight) for end in ends for weight in end.parameters()}
    low: dict[int, nn.Parameter] = {}
    for module in model.modules():
        if isinstance(module, nn.Linear):
            for name, weight in module._parameters.items():
                if weight is not None and weight.dtype == torch.float32 and id(weight) not in kept:
                    if id(weight) not in low:
                        low[id(weight)] = nn.Parameter(weight.detach().to(dtype), requires_grad=weight.requires_grad)
                    module._parameters[name] = low[id(weight)]


def reshard(sharded: Any) -> None:
    """Lets go of whole weights that a forward without a backward has left."""
    for module in sharded.modules():
        if hasattr(module, "reshard"):
            module.reshard()


def local_part(tensor: Tensor) -> Tensor:
    """This rank's share of a tensor in shards, or the tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


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
