"""AdamW whose moments are kept in 8 bits (Dettmers et al. 2021, arXiv 2110.02861), through bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer


def adamw_8bit(
    params: Iterable[Any],
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.95),
    weight_decay: float = 0.0,
    smallest: int = 4096,
) -> Optimizer:
    """AdamW with moments quantised in blocks; those of a tensor with fewer than ``smallest`` numbers stay in float32.

    Two bytes of moments per weight in place of eight. Raises ValueError if bitsandbytes is not installed.
    """
    try:
        import bitsandbytes
    except ImportError as fault:
        raise ValueError(
            "optimizer=adamw_8bit needs bitsandbytes: pip install 'gainrl[bitsandbytes]', or type optimizer=adamw"
        ) from fault
    return bitsandbytes.optim.AdamW8bit(
        params, lr=lr, betas=tuple(betas), weight_decay=weight_decay, min_8bit_size=smallest
    )
