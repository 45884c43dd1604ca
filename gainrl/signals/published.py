"""The orders that the reference release ships, as ``.pt`` files of row numbers.

They are close to a sort by question length (rank correlation above 0.9 on every file), so a run with this signal
belongs beside one with signal=length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from gainrl.signals.protocol import Cost, LearnFirst, Problems, settings_text
from gainrl.types import Policy, PromptTokens


@dataclass(frozen=True, kw_only=True)
class PublishedSignal:
    """Position of each problem in a published order, 0 first; NaN for problems the order does not know.

    ``order``: a ``.pt`` file with one tensor of row numbers. A problem's row is ``extra["row"]``, or the row in
    ``extra["rows"]`` that comes first in the order, where the data names the rows of a larger file.
    Raises ValueError if the file holds no permutation or no problem names its row.
    """

    order: str

    name: ClassVar[str] = "published"
    cost: ClassVar[Cost] = "none"
    learn_first: ClassVar[LearnFirst] = "low"

    def fingerprint(self) -> str:
        # The content, not the path: another file under the same name is another signal.
        return settings_text(self.name, {"order": [int(row) for row in read_order(self.order)]})

    def compute(
        self, problems: Problems, prompts: Sequence[PromptTokens], policy: Policy | None = None, **given: Any
    ) -> np.ndarray:
        order = read_order(self.order)
        position = np.empty(len(order))
        position[order] = np.arange(len(order))
        values = np.full(len(problems), np.nan)
        named = False
        for place in range(len(problems)):
            extra = problems[place].extra
            rows_of_problem = [extra["row"]] if extra.get("row") is not None else list(extra.get("rows") or ())
            named = named or bool(rows_of_problem)
            known = [position[row] for row in rows_of_problem if 0 <= row < len(order)]
            if known:
                values[place] = min(known)
        if not named:
            raise ValueError(
                "No problem says which row of the published data it is (extra['row'] or extra['rows']), so the order "
                "cannot be applied; use a data set that keeps its row numbers, such as dataset=gsm8k."
            )
        return values


def read_order(path: str) -> np.ndarray:
    """``[N]`` int64 row numbers, the row to learn first at the front."""
    if not Path(path).is_file():
        raise ValueError(f"There is no order file at {path!r}; set signal.order to a .pt file of row numbers.")
    order = np.asarray(torch.load(path, weights_only=True), np.int64)
    if order.ndim != 1 or not np.array_equal(np.sort(order), np.arange(len(order))):
        raise ValueError(
            f"{path!r} holds an array of shape {order.shape} that is not a permutation of its row numbers; "
            "set signal.order to a file with each row number exactly once."
        )
    return order
