"""The processes that train one model together, and the few ways in which they speak.

Every rank holds the whole of a step's outcome: it draws the same prompts with the same curriculum, and rolls out,
judges and learns from a share of them; what the others found is gathered in the order of the prompts. All decisions
(admission, curriculum, advantages, counts that normalise the loss, skipped updates, stopping) thus see the same values
everywhere. Gradients are summed, not averaged, since the loss is normalised by counts of all ranks.

Alone, every method is the identity. The functions below do what a step does with a model that may be in shards
(`distributed.sharding`). A forward through shards meets all ranks at each layer, so that all must make equally many:
`passes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from gainrl.functional.aggregation import add_sums
from gainrl.models.scoring import Scored

T = TypeVar("T")
R = TypeVar("R")


class OtherRankFailed(RuntimeError):
    """Another process of this run could not go on; its own message says why."""


class Ranks:
    """``rank`` of ``size`` processes. More than one need `torch.distributed` to be initialised."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @classmethod
    def connected(cls) -> Ranks:
        """The ranks of the process group; without one, this process alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes files and speaks to people."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's items: every ``size``-th, from its own number on."""
        return items if self.size == 1 else items[self.rank :: self.size]

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in their order. Tensors travel through memory of the host."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def everywhere(self, action: Callable[[], T]) -> list[T]:
        """What ``action`` gives on every rank, in their order. If it fails on one, it fails on all, and none waits."""
        result, fault = None, None
        try:
            result = action()
        except Exception as raised:
            if self.size == 1:
                raise
            fault = raised
        reason = None if fault is None else f"{type(fault).__name__}: {fault}"
        found = self.gather((result, reason))
        if fault is not None:
            raise fault
        failed = [(rank, text) for rank, (_, text) in enumerate(found) if text is not None]
        if failed:
            raise OtherRankFailed(f"rank {failed[0][0]} stopped: {failed[0][1]}")
        return [value for value, _ in found]  # type: ignore[misc]

    def map(self, work: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T]) -> Sequence[R]:
        """``work(items)``, one result for each item, computed in shares; what fails on one rank fails on all."""
        if self.size == 1:
            return work(items)
        mine = self.share(items)
        results: list[Any] = [None] * len(items)
        for rank, part in enumerate(self.everywhere(lambda: list(work(mine)) if len(mine) else [])):
            results[rank :: self.size] = part
        return results

    def sum(self, tensor: Tensor) -> Tensor:
        """Adds up a tensor in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        return any(self.gather(flag))

    def first(self, action: Callable[[], T]) -> T | None:
        """``action()`` on rank 0, while the others wait and get None. If it fails there, it fails everywhere."""
        result, fault = None, None
        if self.leads:
            try:
                result = action()
            except BaseException as raised:
                fault = raised
        reason = self.gather(None if fault is None else f"rank 0 stopped: {type(fault).__name__}: {fault}")[0]
        if fault is not None:
            raise fault
        if reason is not None:
            raise OtherRankFailed(reason)
        return result

    def in_turn(self, action: Callable[[], T]) -> T:
        """``action()`` on rank 0 and then on all others, which find the files that it left."""
        result = self.first(action)
        return result if self.leads else action()  # type: ignore[return-value]

    def agree(self, what: str, value: Any) -> None:
        """Raises RuntimeError unless all ranks give an equal value."""
        values = self.gather(value)
        if any(other != values[0] for other in values):
            raise RuntimeError(
                f"the processes of this run differ in {what}; they must see the same files: put the run directory, the "
                "cache (GAINRL_CACHE) and the data where all nodes can read them"
            )

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Adds up the gradients; a parameter without one on any rank stays without."""
        if self.size == 1:
            return
        parameters = [parameter for parameter in parameters if parameter.requires_grad]
        if not parameters:
            return
        present = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
        pending = []
        for parameter, count in zip(parameters, self.sum(present).tolist(), strict=True):
            if count:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                pending.append(dist.all_reduce(parameter.grad, async_op=True))
        for work in pending:
            work.wait()


WHOLE_WEIGHTS = "run_with_whole_weights"


def is_sharded(model: nn.Module) -> bool:
    return hasattr(model, WHOLE_WEIGHTS)


def inside(model: nn.Module, work: Callable[[], Scored]) -> Scored:
    """``work()``, which runs a forward of ``model``, sharded or not."""
    if not is_sharded(model):
        return work()

    def parts() -> tuple[Tensor | None, ...]:
        scored = work()
        return scored.logprobs, scored.entropies, scored.values

    return Scored(*getattr(model, WHOLE_WEIGHTS)(parts))


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
    sums: dict[str, Any], loss: float, summed: Sequence[nn.Parameter], model: nn.Module, ranks: Ranks
) -> tuple[dict[str, Any], float]:
    """Additive sums and loss of all ranks, equal everywhere; adds up the gradients of ``summed`` in place.

    ``model``: its part that may be in shards.
    """
    if ranks.size == 1:
        return sums, loss
    if is_sharded(model):
        undo_average(model, ranks)
    ranks.sum_gradients(summed)
    parts = ranks.gather(({name: value.cpu() for name, value in sums.items()}, loss))
    total: dict[str, Any] = {}
    for part, _ in parts:
        total = add_sums(total, part)
    return total, sum(part for _, part in parts)


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
