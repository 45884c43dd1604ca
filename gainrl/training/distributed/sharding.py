"""Training in shards (FSDP2): every rank keeps a part of each weight, of its gradient and of its optimizer state.

What trains is a sharded copy of the policy, made layer by layer from the weights that were loaded. The policy itself
stays whole on every rank, for rollouts, whose loops end at other lengths on each rank, for signals and for evaluation,
which wait for nobody. It holds no memory while the step is learned from (`WholeCopy`), and gets the new weights after
it. In mixed precision its linear layers are kept as autocast reads them, in half the memory.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from gainrl.training.distributed.ranks import WHOLE_WEIGHTS, reshard, whole
from gainrl.training.masters import lower


def shard(
    model: nn.Module, mesh: Any, *, mixed: torch.dtype | None = None, pure: bool = False, trains: bool = True
) -> Any:
    """A copy of a causal language model in shards over ``mesh``, layer by layer; call it through `inside`.

    No second whole copy exists on the way: each layer's share is copied from the weights of ``model``, which stay as
    they are. ``mixed``: the precision in which layers are gathered and multiply, for a model that runs under autocast;
    shards, gradients and their sums stay float32. ``pure``: embeddings, norms, the head and all states are in that
    precision too, for a model that runs without autocast. Without ``trains`` nothing has a gradient (a reference).
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    sharded: Any = _alias(model, trains=trains)
    # The hidden states between the layers stay float32, as autocast leaves them.
    low = MixedPrecisionPolicy(param_dtype=mixed, reduce_dtype=mixed and torch.float32, cast_forward_inputs=False)
    ends = low if pure else MixedPrecisionPolicy()  # embeddings, the last norm and the head: autocast reads float32
    kinds = set(getattr(model, "_no_split_modules", None) or ())
    for layer in [module for module in sharded.modules() if type(module).__name__ in kinds]:
        fully_shard(layer, mesh=mesh, mp_policy=low)
    fully_shard(sharded, mesh=mesh, mp_policy=ends)
    # The scoring forward reads the embedding and the output layer by themselves: whole weights must be there around it.
    setattr(sharded, WHOLE_WEIGHTS, types.MethodType(lambda self, work: work(), sharded))
    register_fsdp_forward_method(sharded, WHOLE_WEIGHTS)
    return sharded


def _alias(model: nn.Module, *, trains: bool) -> nn.Module:
    """A copy of ``model`` whose parameters are new but share its memory."""
    memo = {id(p): nn.Parameter(p.detach(), requires_grad=trains and p.requires_grad) for p in model.parameters()}
    return copy.deepcopy(model, memo)


class WholeCopy:
    """The policy ``model`` beside its shards: filled for rollouts, released while the step is learned from.

    ``mixed``: the precision in which autocast reads linear layers, or None; embeddings and norms stay float32, unless
    ``pure`` puts them into bfloat16 as well.
    """

    def __init__(self, sharded: Any, model: Any, *, mixed: torch.dtype | None = None, pure: bool = False) -> None:
        self.sharded, self.model = sharded, model
        if pure:
            lower(model, torch.bfloat16)
        elif mixed is not None:
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
