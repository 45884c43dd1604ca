"""Memory that runs out where no rank can begin again, and what the next start of the run makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gainrl.files import whole_file
from gainrl.functional.memory import out_of_memory
from gainrl.training.batching import MiniBatch

Result = TypeVar("Result")
_LIMIT = "memory.json"


class DoesNotFit(RuntimeError):
    """Memory ran out where no rank can begin again. ``tokens``: what micro-batches should have instead, None: nothing.

    The text says what to type.
    """

    def __init__(self, text: str, tokens: int | None = None) -> None:
        super().__init__(text)
        self.tokens = tokens


def once_in_shards(attempt: Callable[[], Result], plan: MiniBatch, limit: int) -> Result:
    """``attempt()``, whose forwards meet the other ranks at every layer; ``limit``: tokens of a micro-batch.

    A rank that began again would meet them at the wrong layer. Raises DoesNotFit where memory runs out.
    """
    try:
        return attempt()
    except (RuntimeError, MemoryError) as fault:
        if not out_of_memory(fault):
            raise
        if all(len(rows) == 1 for rows in plan.micro_batches):
            raise DoesNotFit(
                "memory ran out in an update, and every micro-batch is a single completion. Type "
                "model.gradient_checkpointing=true, a smaller rollout.max_new_tokens, or more trainer.devices"
            ) from fault
        raise DoesNotFit(
            f"memory ran out in an update with micro-batches of {limit} tokens, and under trainer=fsdp no rank begins "
            f"again by itself. The same command goes on from the last checkpoint with micro-batches of {limit // 2}",
            limit // 2,
        ) from fault


def remember_limit(folder: Path, tokens: int) -> None:
    """Keeps in a run's folder how many tokens its micro-batches may have from now on."""
    with whole_file(folder / _LIMIT, contested=True) as draft:
        draft.write_text(json.dumps({"micro_batch_tokens": tokens}))


def remembered_limit(folder: Path) -> int | None:
    """What `remember_limit` kept; None where memory never ran out for good."""
    path = folder / _LIMIT
    return int(json.loads(path.read_text())["micro_batch_tokens"]) if path.is_file() else None
