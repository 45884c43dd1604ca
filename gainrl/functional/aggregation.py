"""Which tokens train, and their sums divided by counts of the whole optimizer step.

With ``S`` completions that have at least one token, ``N`` tokens and the limit ``T`` on the tokens of a completion::

    sequence_mean   1/S sum_i 1/L_i sum_t x_it      GRPO, arXiv 2402.03300
    token_mean      1/N sum_i sum_t x_it            DAPO, arXiv 2503.14476
    constant        1/(S T) sum_i sum_t x_it        Dr. GRPO, arXiv 2503.20783
    sequence_sum    1/S sum_i sum_t x_it            REINFORCE; RLOO, arXiv 2402.14740

The counts belong to the *whole optimizer step*, on all ranks. A micro-batch contributes its share of the sum, so its
size changes memory and nothing else; the training loop must not divide by the number of micro-batches or of ranks
again.

Departure from the papers: completions without any token that trains (all masked) leave ``S``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Aggregation = Literal["sequence_mean", "token_mean", "constant", "sequence_sum"]


@dataclass(frozen=True, slots=True)
class Normalizer:
    """Counts of one whole optimizer step: all its micro-batches, on all ranks.

    ``sequences``: completions with at least one token that trains. ``tokens``: those tokens. ``max_tokens``: the limit
    on the tokens of a completion, a constant of the run (never the padded width, which varies).
    """

    sequences: int
    tokens: int
    max_tokens: int

    @classmethod
    def of_step(cls, mask_BT: Tensor, max_tokens: int) -> Normalizer:
        """Counts of a step whose tokens are the True entries of ``mask_BT`` (bool ``[B, T]``)."""
        lengths_B = mask_BT.bool().sum(dim=1)
        return cls(sequences=int((lengths_B > 0).sum()), tokens=int(lengths_B.sum()), max_tokens=max_tokens)


def aggregate(values_BT: Tensor, mask_BT: Tensor, aggregation: Aggregation, normalizer: Normalizer) -> Tensor:
    """This micro-batch's share of the aggregate over the step, a scalar; formulas in the module docstring."""
    if aggregation == "sequence_mean":
        return row_means(values_BT, mask_BT).sum() / max(normalizer.sequences, 1)
    total = zero_outside(values_BT, mask_BT).sum()
    if aggregation == "token_mean":
        return total / max(normalizer.tokens, 1)
    if aggregation == "constant":
        return total / max(normalizer.sequences * normalizer.max_tokens, 1)
    return total / max(normalizer.sequences, 1)


TruncatedRule = Literal["keep", "mask", "exclude"]


def zero_outside(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """``values_BT`` with exact zeros where ``mask_BT`` (bool ``[B, T]``) is False, whatever stood there (NaN included).

    Applied to an input before any arithmetic it also keeps NaN and infinity out of the gradient; a product with the
    mask would not, since ``0 * inf`` is NaN.
    """
    return torch.where(mask_BT, values_BT, torch.zeros((), dtype=values_BT.dtype, device=values_BT.device))


def row_means(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean over the True tokens of each row, ``[B]``; 0 for rows without any."""
    return zero_outside(values_BT, mask_BT).sum(dim=1) / mask_BT.sum(dim=1).clamp(min=1)


def training_masks(
    *, mask_BT: Tensor, valid_PG: Tensor, truncated_PG: Tensor, rule: TruncatedRule
) -> tuple[Tensor, Tensor]:
    """What takes part in a step: ``valid_PG`` for the baseline of the group and ``mask_BT`` for the objective (bool).

    ``valid_PG`` and ``truncated_PG`` have an entry for each row of ``mask_BT``, in the same order and in any shape.

    Completions that could not be judged (``valid_PG`` False) leave both. Truncated ones: ``keep`` changes nothing,
    ``mask`` takes them out of the objective but leaves them in the mean and deviation of their group (overlong
    filtering of DAPO, arXiv 2503.14476), ``exclude`` takes them out of both. Groups keep their places in any case.
    Raises ValueError for an unknown rule.
    """
    if rule not in get_args(TruncatedRule):
        raise ValueError(f"algorithm.truncated={rule!r} is unknown; use one of {', '.join(get_args(TruncatedRule))}")
    valid_PG, truncated_PG = valid_PG.bool(), truncated_PG.bool()
    training_PG = valid_PG if rule == "keep" else valid_PG & ~truncated_PG
    if rule == "exclude":
        valid_PG = training_PG
    return valid_PG, mask_BT.bool() & training_PG.reshape(-1)[:, None].to(mask_BT.device)


def add_sums(total: Mapping[str, Tensor], part: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adds the sums of two micro-batches (or ranks); ``ratio/max`` is the larger of both."""
    added = dict(total)
    for name, value in part.items():
        if name not in added:
            added[name] = value
        elif name.endswith("/max"):
            added[name] = torch.maximum(added[name], value)
        else:
            added[name] = added[name] + value
    return added
