"""Ranks that are threads of one process, for tests of what they agree on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from gainrl.training.distributed.ranks import Ranks


class ThreadRanks(Ranks):
    """Meets the others at a barrier; `meet` runs all of them."""

    def __init__(self, rank: int, size: int, barrier: threading.Barrier, table: list[Any]) -> None:
        super().__init__(rank, size)
        self._barrier, self._table = barrier, table

    def gather(self, value: Any) -> list[Any]:
        self._table[self.rank] = value
        self._barrier.wait(timeout=60)
        found = list(self._table)
        self._barrier.wait(timeout=60)
        return found

    def sum(self, tensor: Any) -> Any:
        parts = self.gather(tensor.clone())
        return tensor.copy_(sum(parts[1:], start=parts[0]))


def meet(size: int, work: Callable[[Ranks], Any]) -> list[Any]:
    """What ``work`` returns, or the exception that it raises, on each of ``size`` ranks."""
    barrier, table, results = threading.Barrier(size), [None] * size, [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadRanks(rank, size, barrier, table))
        except Exception as fault:
            results[rank] = fault

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
