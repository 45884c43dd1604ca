"""The most bytes that tensors hold at a time, counted exactly, on whatever device: no allocator, no noise."""

from __future__ import annotations

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class MemoryHeld(TorchDispatchMode):
    """Inside, ``most`` is the peak of all tensors that operations touch and that still live."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self._bound = 0  # bytes of all in `_alive`, the dead ones too

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_flatten((args, kwargs, result))[0]:
            tensor = getattr(tensor, "_local_tensor", tensor)  # of one in shards
            if isinstance(tensor, torch.Tensor) and type(tensor).__name__ != "FakeTensor":
                storage = tensor.untyped_storage()
                before = self._alive.get(storage._cdata)
                self._bound += storage.nbytes() - (0 if before is None else before[1])
                self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        if self._bound > self.most:  # else nothing that is alive can be a new peak
            self._alive = {key: (kept, _bytes(kept)) for key, (kept, _) in self._alive.items() if not kept.expired()}
            self._bound = sum(size for _, size in self._alive.values())
            self.most = max(self.most, self._bound)
        return result


def _bytes(kept: StorageWeakRef) -> int:
    """Of a storage now: shards give back the memory of weights that were put together, and keep the storage."""
    storage = torch.UntypedStorage._new_with_weak_ptr(kept.cdata)  # type: ignore[attr-defined]
    return 0 if storage is None else storage.nbytes()
