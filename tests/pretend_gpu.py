"""A device that is none: tensors that say they are on a GPU, hold memory of the host, and refuse to meet any other.

Code that would fail on a GPU because two devices meet, or because something is created on the wrong one, fails here on
any machine. Mixed precision is not part of it: autocast acts by the kind of a tensor, which is neither a GPU's nor the
CPU's here. ``torch.device("meta")`` serves as the name of the device, since PyTorch lets Python code own its kernels.
Inside `pretending` every operation goes through `OnGPU.run`, which computes it on the CPU. `waits` counts where the
host waited for the device, by line of this package.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
waits: Counter[str] = Counter()
# Operations that take indices from the host, as on a GPU, and copies between devices.
_TAKES_HOST_INDICES = ("aten.index.Tensor", "aten.index_put", "aten._index_put_impl_", "aten._unsafe_index")
_WAITS = ("aten._local_scalar_dense", "aten.nonzero", "aten.equal")


class DeviceMismatch(RuntimeError):
    """Tensors of two devices met."""


class OnGPU(torch.Tensor):
    """A tensor on the pretended device, around ``host`` with its data."""

    host: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> OnGPU:
        wrapped = torch.Tensor._make_wrapper_subclass(
            cls,
            host.shape,
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=DEVICE,
        )
        wrapped.host = host.detach()
        return wrapped

    def tolist(self) -> Any:
        waits[_line()] += 1
        return self.host.tolist()

    def numpy(self, *given: Any, **named: Any) -> Any:
        raise TypeError(f"a tensor of a GPU has no numpy array; call cpu() first ({_line()})")

    def __deepcopy__(self, memo: Any) -> OnGPU:
        return OnGPU(self.host.clone())

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(function, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(function, args, kwargs or {})


def run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation, on the device of its tensors or on the one asked for. Raises DeviceMismatch."""
    name = str(function)
    if name.startswith("prim.device"):
        return DEVICE
    tensors = [item for item in tree_flatten((args, kwargs))[0] if isinstance(item, torch.Tensor)]
    here = [tensor for tensor in tensors if isinstance(tensor, OnGPU)]
    _check(name, args, here, [tensor for tensor in tensors if not isinstance(tensor, OnGPU)])
    target = kwargs.get("device")
    leaves = target is not None and torch.device(target).type != DEVICE.type
    arrives = target is not None and not leaves
    if here and (name.startswith(_WAITS) or leaves or _by_mask(name, args)):
        waits[_line()] += 1

    def of_host(item: Any) -> Any:
        if isinstance(item, OnGPU):
            return item.host
        return torch.device("cpu") if isinstance(item, torch.device) and item.type == DEVICE.type else item

    given, named = tree_map(of_host, args), tree_map(of_host, kwargs)
    named.pop("pin_memory", None)
    result = function(*given, **named)
    if function._schema.is_mutable and isinstance(args[0], torch.Tensor) and isinstance(result, torch.Tensor):
        return args[0]
    if not arrives and (leaves or not here):
        return result
    return tree_map(
        lambda item: OnGPU(item) if isinstance(item, torch.Tensor) and not isinstance(item, OnGPU) else item, result
    )


def _check(name: str, args: Any, here: list[Any], elsewhere: list[Any]) -> None:
    """Numbers (tensors without dimensions) may come from the host, and so may indices and sources of copies."""
    large = [tensor for tensor in elsewhere if tensor.dim()]
    if not here or not large or name.startswith("aten.copy_"):
        return
    if name.startswith(_TAKES_HOST_INDICES) and isinstance(args[0], OnGPU):
        values = args[2] if len(args) > 2 and isinstance(args[2], torch.Tensor) else None
        if values is None or isinstance(values, OnGPU) or values.dim() == 0:
            return
    raise DeviceMismatch(f"{name} between the GPU and the host at {_line()}")


def _by_mask(name: str, args: Any) -> bool:
    masks = args[1] if name.startswith("aten.index.Tensor") else ()
    return any(isinstance(mask, torch.Tensor) and mask.dtype == torch.bool for mask in masks or ())


def _line() -> str:
    """The line of this package that asked."""
    for frame in reversed(traceback.extract_stack()):
        if "/gainrl/" in frame.filename and "/tests/" not in frame.filename:
            return f"{frame.filename.rsplit('/gainrl/', 1)[1]}:{frame.lineno}"
    return "outside"


def move(module: torch.nn.Module) -> None:
    """Puts parameters and buffers on the device; what was shared stays shared."""
    moved: dict[int, torch.nn.Parameter] = {}
    for part in module.modules():
        for name, weight in list(part._parameters.items()):
            if weight is not None:
                if id(weight) not in moved:
                    moved[id(weight)] = torch.nn.Parameter(OnGPU(weight.data), requires_grad=weight.requires_grad)
                part._parameters[name] = moved[id(weight)]
        for name, buffer in list(part._buffers.items()):
            if buffer is not None:
                part._buffers[name] = OnGPU(buffer)


class _Autocast(torch.autocast):
    """Autocast of the device is that of the CPU that computes for it."""

    def __new__(cls, device_type: str, *given: Any, **named: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, device_type: str, *given: Any, **named: Any) -> None:
        super().__init__("cpu" if device_type == DEVICE.type else device_type, *given, **named)


@contextmanager
def pretending(monkeypatch: Any) -> Iterator[Counter[str]]:
    """Inside there is a GPU; gives the counts of `waits`."""
    enabled, dtype, tensor = torch.is_autocast_enabled, torch.get_autocast_dtype, torch.tensor

    def host(kind: str) -> str:
        return "cpu" if kind == DEVICE.type else kind

    def made(data: Any, *, device: Any = None, **named: Any) -> torch.Tensor:
        made_here = tensor(data, **named)
        return OnGPU(made_here) if device is not None and torch.device(device).type == DEVICE.type else made_here

    monkeypatch.setattr(torch, "autocast", _Autocast)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind="cpu": enabled(host(kind)))
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda kind: dtype(host(kind)))
    monkeypatch.setattr(torch, "tensor", made)
    waits.clear()
    with _Everywhere():
        yield waits
