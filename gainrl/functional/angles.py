"""Angle concentration in closed form: how closely the hidden states of a prompt point the same way.

With the unit vectors x̂ of the question's ``m`` tokens and ŷ of the prefix's ``n`` tokens (paper, arXiv 2506.02281)::

    C_intra = 1/m^2   sum_ij <x̂_i, x̂_j> = |mean x̂|^2
    C_inter = 1/(m n) sum_ij <x̂_i, ŷ_j> = <mean x̂, mean ŷ>

so that one sum of directions per segment is enough and no matrix of token pairs is ever formed. Sums are taken in
float32 (float64 for float64 states) whatever the dtype of the model. A zero vector has cosine 0 with every vector,
itself included, and counts as a token.

Departures from the paper:

1. ``diagonal=False`` leaves out the ``m`` pairs of a token with itself, which lift C_intra of short questions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class DirectionSums:
    """The sum of the unit vectors of each of some segments.

    ``total``: ``[..., D]``; ``tokens``: ``[...]`` tokens in the segment; ``directed``: ``[...]`` those of them that are
    not zero vectors. Segments are joined with ``+``.
    """

    total: Tensor
    tokens: Tensor
    directed: Tensor

    def __add__(self, other: DirectionSums) -> DirectionSums:
        return DirectionSums(self.total + other.total, self.tokens + other.tokens, self.directed + other.directed)

    def segment(self, index: int) -> DirectionSums:
        """One of the segments of `segment_sums`."""
        return DirectionSums(self.total[..., index, :], self.tokens[..., index], self.directed[..., index])


def direction_sums(hidden: Tensor, mask: Tensor) -> DirectionSums:
    """Sums the unit vectors of the tokens that ``mask`` (``[..., T]`` bool) marks in ``hidden`` (``[..., T, D]``)."""
    _check_mask(hidden, mask)
    return segment_sums(hidden, mask[..., None, :]).segment(0)


def segment_sums(hidden: Tensor, masks: Tensor) -> DirectionSums:
    """`direction_sums` of ``S`` segments (``masks``: ``[..., S, T]`` bool) from one reading of the states.

    The sums have the segments as their last axis before ``D``; see `DirectionSums.segment`.
    """
    lengths, states = _lengths_and_states(hidden)
    directed = masks & (lengths != 0)[..., None, :]
    # A weighted sum instead of a tensor of unit vectors: one read of the states and no copy of them.
    weights = torch.where(directed, 1.0 / lengths.masked_fill(lengths == 0, 1.0)[..., None, :], 0.0)
    if not bool(torch.isfinite(lengths).all()):  # padding may hold nan, which a weight of 0 would let through
        states = states.masked_fill(~masks.any(-2)[..., None], 0.0)
    with torch.autocast(hidden.device.type, enabled=False):  # which would take the sums in bfloat16
        total = weights @ states
    return DirectionSums(total, masks.sum(-1), directed.sum(-1))


def intra_concentration(question: DirectionSums, *, diagonal: bool = True) -> Tensor:
    """C_intra ``[...]``: mean cosine over the pairs of tokens of a segment (paper, arXiv 2506.02281).

    ``diagonal`` counts a token's cosine with itself, as the paper does. NaN for an empty segment, and for a segment
    of one token without the diagonal.
    """
    squares = question.total.square().sum(-1)
    tokens = question.tokens.to(squares.dtype)
    if diagonal:
        return squares / tokens.square()
    pairs = (tokens * (tokens - 1)).masked_fill(tokens < 2, torch.nan)  # rounding leaves more than 0 above 0 pairs
    return (squares - question.directed.to(squares.dtype)) / pairs


def inter_concentration(question: DirectionSums, prefix: DirectionSums) -> Tensor:
    """C_inter ``[...]``: mean cosine between the tokens of two segments (paper, arXiv 2506.02281).

    NaN where one of the segments is empty.
    """
    products = (question.total * prefix.total).sum(-1)
    return products / (question.tokens.to(products.dtype) * prefix.tokens.to(products.dtype))


def weighted_concentration(
    question: DirectionSums,
    prefix: DirectionSums | None,
    *,
    intra: float,
    inter: float,
    diagonal: bool = True,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """``intra * C_intra + inter * C_inter`` ``[...]`` and its two terms without their weights.

    A term with weight 0 is left out of the sum, so that one that is not defined does not make the other NaN. C_inter is
    None, and must have weight 0, where no ``prefix`` is given. Source: paper, arXiv 2506.02281, with equal weights.
    """
    c_intra = intra_concentration(question, diagonal=diagonal)
    c_inter = None if prefix is None else inter_concentration(question, prefix)
    value = torch.zeros_like(c_intra)
    if intra:
        value = value + intra * c_intra
    if inter:
        if c_inter is None:
            raise ValueError(f"inter={inter} weighs C_inter, which needs the sums of a prefix.")
        value = value + inter * c_inter
    return value, c_intra, c_inter


def concentration(
    hidden_TD: Tensor, question: tuple[int, int], prefix: tuple[int, int], *, diagonal: bool = True
) -> tuple[Tensor, Tensor]:
    """(C_intra, C_inter) of one prompt from its hidden states ``[T, D]`` and two half-open token spans."""
    tokens = hidden_TD.shape[0]
    for name, (start, end) in (("question", question), ("prefix", prefix)):
        if not 0 <= start <= end <= tokens:
            raise ValueError(
                f"The {name} span ({start}, {end}) does not lie within the {tokens} tokens given; "
                f"pass 0 <= start <= end <= {tokens}."
            )
    question_sums, prefix_sums = (
        direction_sums(hidden_TD[start:end], torch.ones(end - start, dtype=torch.bool, device=hidden_TD.device))
        for start, end in (question, prefix)
    )
    return intra_concentration(question_sums, diagonal=diagonal), inter_concentration(question_sums, prefix_sums)


def _lengths_and_states(hidden: Tensor) -> tuple[Tensor, Tensor]:
    precision = torch.float64 if hidden.dtype == torch.float64 else torch.float32
    return torch.linalg.vector_norm(hidden, dim=-1, dtype=precision), hidden.to(precision)


def _check_mask(hidden: Tensor, mask: Tensor) -> None:
    if mask.shape != hidden.shape[:-1] or mask.dtype != torch.bool:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)} and dtype {mask.dtype} for hidden states of shape "
            f"{tuple(hidden.shape)}; pass a bool mask of shape {tuple(hidden.shape[:-1])}."
        )
