"""Processes that meet over gloo, forked from the test, so that they start in no time."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from typing import Any


def forked(work: Callable[[int], Any], folder, *, size: int = 2) -> list[Any]:
    """``work(rank)`` in each of ``size`` connected processes; their results, which must be plain, by rank."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def run(rank: int) -> None:
        import torch
        import torch.distributed as dist

        torch.set_num_threads(1)
        try:
            dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
            queue.put((rank, work(rank), None))
            dist.barrier()
        except BaseException:
            queue.put((rank, None, traceback.format_exc()))

    processes = [context.Process(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for process in processes:
        process.start()
    found = {}
    for _ in processes:
        rank, result, fault = queue.get()
        if fault is not None:
            for process in processes:
                process.kill()
            raise AssertionError(f"rank {rank} failed:\n{fault}")
        found[rank] = result
    for process in processes:
        process.join()
    return [found[rank] for rank in range(size)]
