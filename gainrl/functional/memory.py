"""Telling an exhausted memory from other faults.

A GPU without room raises torch.OutOfMemoryError, and torch on a CPU a plain RuntimeError of its allocator.
"""

from __future__ import annotations

import torch

_CPU_ALLOCATOR = ("can't allocate memory", "not enough memory", "DefaultCPUAllocator")  # on Linux, on Windows, both


def out_of_memory(fault: BaseException) -> bool:
    """Whether an exception says that memory ran out, on whichever device."""
    if isinstance(fault, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(fault, RuntimeError) and any(text in str(fault) for text in _CPU_ALLOCATOR)


def release_cached_memory() -> None:
    """Gives back what PyTorch's allocator keeps of a GPU; nothing on a CPU."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
