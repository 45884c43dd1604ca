"""Log-probabilities and entropies of chosen tokens, from logits or straight from hidden states in chunks.

All sums over the vocabulary are taken in float32: in bfloat16, a log-softmax over 151,936 tokens errs by 0.07 nats.
The products with the vocabulary are in the precision of the hidden states; in mixed precision on a GPU, where those are
float32, they run on its tensor cores (TF32: operands of 10 bits, sums in float32), five times as fast as in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def selective_logprobs(logits: Tensor, ids: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Log-probabilities of ``ids`` under ``softmax(logits / temperature)``, in float32.

    ``logits``: ``[..., V]``; ``ids``: ``[...]`` int64; result: ``[...]``, ``z[id] - logsumexp(z)`` with
    ``z = logits / temperature``. Raises ValueError for a temperature that is not positive.
    """
    _require_positive_temperature(temperature)
    scaled = logits.float() / temperature
    return scaled.gather(-1, ids[..., None]).squeeze(-1) - scaled.logsumexp(-1)


def entropies(logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Entropies in nats of ``softmax(logits / temperature)`` over the last axis, in float32: ``lse(z) - sum p z``."""
    _require_positive_temperature(temperature)
    scaled = logits.float() / temperature
    return scaled.logsumexp(-1) - (scaled.softmax(-1) * scaled).sum(-1)


def chunked_logprobs(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    ids_N: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float = 1.0,
    chunk: tuple[int, int],
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities ``[N]`` of ``ids_N`` and entropies ``[N]`` (nats), both float32, without the full logits.

    ``chunk``: positions and tokens of the vocabulary whose logits exist at a time, in the forward and in the backward
    pass, which computes them again, beside their probabilities (and, with a soft cap, two more blocks of that size).
    Both results are differentiable in ``hidden_ND``, ``weight_VD`` and ``bias``. With
    ``c(x) = softcap * tanh(x / softcap)`` (the identity if ``softcap`` is None) and
    ``z = c(hidden @ weight.T + bias) / temperature``: log-probability ``z[id] - lse(z)``, entropy ``lse(z) - E_p[z]``.
    Sums over the vocabulary grow from chunk to chunk around the largest logit so far (Milakov and Gimelshein, arXiv
    1805.02867). A bias of minus infinity takes a token out. An id outside the vocabulary has the log-probability NaN.

    Raises ValueError for a temperature, chunk or softcap that is not positive.
    """
    _require_positive_temperature(temperature)
    if min(chunk) < 1:
        raise ValueError(f"chunk={chunk}: positions and tokens whose logits exist at a time; give 1 or more of each")
    if softcap is not None and not softcap > 0:
        raise ValueError(f"softcap={softcap}: a cap must be positive; give None for logits without a cap")
    rows, columns = (min(given, most) for given, most in zip(chunk, (len(hidden_ND), len(weight_VD)), strict=True))
    form = _Form(float(temperature), max(rows, 1), columns, softcap)
    return _ChunkedLogprobs.apply(hidden_ND, weight_VD, ids_N, bias, form)


@contextmanager
def tensor_cores(device: torch.device, mixed: bool) -> Iterator[None]:
    """Inside, products of float32 matrices run in TF32 where ``device`` is a GPU and training is ``mixed``."""
    before = torch.get_float32_matmul_precision()
    if mixed and device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        if torch.get_float32_matmul_precision() != before:
            torch.set_float32_matmul_precision(before)


def _require_positive_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: log-probabilities need a positive temperature; give 1.0")


@dataclass(frozen=True, slots=True)
class _Form:
    """How logits follow from products, and how many ``rows`` and ``columns`` of them exist at a time."""

    temperature: float
    rows: int
    columns: int
    softcap: float | None

    def logits(self, hidden: Tensor, weight_VD: Tensor, bias_V: Tensor | None, columns: slice, space: Tensor) -> Tensor:
        """``[n, m]`` float32 logits of the tokens in ``columns``, in the first places of ``space``."""
        weight = weight_VD[columns]
        logits = space[: len(hidden) * len(weight)].view(len(hidden), len(weight))
        if hidden.dtype == torch.float32:
            torch.mm(hidden, weight.T, out=logits)
        else:
            logits.copy_(hidden @ weight.T)
        if bias_V is not None:
            logits += bias_V[columns].float().clamp(min=_LEAST)  # a chunk of minus infinities has no largest logit
        if self.softcap is not None:
            logits.div_(self.softcap).tanh_().mul_(self.softcap)
        if self.temperature != 1.0:
            logits.div_(self.temperature)
        return logits


_LEAST = -1e30


def _parts(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


@dataclass(slots=True)
class _Sums:
    """Of ``exp(z - most)`` and of ``exp(z - most) (z - most)`` over the vocabulary so far; each ``[n]``."""

    most: Tensor
    total: Tensor
    weighted: Tensor

    @classmethod
    def of(cls, logits: Tensor, space: Tensor) -> _Sums:
        """Changes ``logits``."""
        most = logits.amax(1)
        shifted = logits.sub_(most[:, None])
        powers = torch.exp(shifted, out=space[: shifted.numel()].view_as(shifted))
        total = powers.sum(1)
        return cls(most, total, powers.mul_(shifted).sum(1))

    def with_more(self, more: _Sums) -> _Sums:
        most = torch.maximum(self.most, more.most)
        total, weighted = torch.zeros_like(most), torch.zeros_like(most)
        for part in (self, more):
            shift = part.most - most
            scale = shift.exp()
            total += scale * part.total
            weighted += scale * (part.weighted + shift * part.total)
        return _Sums(most, total, weighted)

    @property
    def lse(self) -> Tensor:
        return self.most + self.total.log()

    @property
    def entropy(self) -> Tensor:
        # Both terms are positive; lse - sum p z would cancel where logits are large.
        return self.total.log() - self.weighted / self.total


class _ChunkedLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, ids: Tensor, bias: Tensor | None, form: _Form
    ) -> tuple[Tensor, Tensor]:
        count, tokens = len(hidden), len(weight)
        logprobs = torch.empty(count, dtype=torch.float32, device=hidden.device)
        entropy, lse = torch.empty_like(logprobs), torch.empty_like(logprobs)
        spaces = torch.empty(2, form.rows * form.columns, dtype=torch.float32, device=hidden.device)
        mixed = torch.is_autocast_enabled(hidden.device.type)
        # Autocast would run the products of this pass, but not those of the backward pass, in another precision.
        with torch.autocast(hidden.device.type, enabled=False), tensor_cores(hidden.device, mixed):
            used = weight.to(hidden.dtype)
            for rows in _parts(count, form.rows):
                sums, chosen = None, torch.full_like(logprobs[rows], torch.nan)
                for columns in _parts(tokens, form.columns):
                    logits = form.logits(hidden[rows], used, bias, columns, spaces[0])
                    inside, places = _chosen(ids[rows], columns)
                    chosen = torch.where(inside, logits.gather(1, places).squeeze(1), chosen)
                    found = _Sums.of(logits, spaces[1])
                    sums = found if sums is None else sums.with_more(found)
                assert sums is not None
                lse[rows], entropy[rows] = sums.lse, sums.entropy
                logprobs[rows] = chosen - sums.most - sums.total.log()
        ctx.save_for_backward(hidden, weight, ids, bias, lse, entropy)
        ctx.form, ctx.mixed, ctx.device = form, mixed, hidden.device
        ctx.set_materialize_grads(False)
        return logprobs, entropy

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_logprobs: Tensor | None, grad_entropy: Tensor | None) -> tuple[Any, ...]:
        with tensor_cores(ctx.device, ctx.mixed):
            return _ChunkedLogprobs._gradients(ctx, grad_logprobs, grad_entropy)

    @staticmethod
    def _gradients(ctx: Any, grad_logprobs: Tensor | None, grad_entropy: Tensor | None) -> tuple[Any, ...]:
        hidden, weight, ids, bias, lse, entropy = ctx.saved_tensors
        form = ctx.form
        want_hidden, want_weight, want_bias = (ctx.needs_input_grad[i] for i in (0, 1, 3))
        # Chunks add up in float32, so that the sum of many bfloat16 products is not rounded at every chunk.
        grad_hidden, grad_weight, grad_bias = (
            torch.zeros(like.shape, dtype=torch.float32, device=hidden.device) if wanted else None
            for like, wanted in ((hidden, want_hidden), (weight, want_weight), (bias, want_bias))
        )
        if grad_logprobs is None:
            grad_logprobs = torch.zeros_like(lse)
        used = weight.to(hidden.dtype)
        spaces = torch.empty(2, form.rows * form.columns, dtype=torch.float32, device=hidden.device)
        for rows in _parts(len(hidden), form.rows):
            for columns in _parts(len(weight), form.columns):
                logits = form.logits(hidden[rows], used, bias, columns, spaces[0])
                # d tanh(x) = 1 - tanh(x)^2, and logits * temperature / softcap is tanh(x)
                slope = None
                if form.softcap is not None:
                    slope = (logits * (form.temperature / form.softcap)).square_().neg_().add_(1)
                grad = _grad_scaled_logits(
                    logits.sub_(lse[rows, None]),
                    _chosen(ids[rows], columns),
                    entropy[rows],
                    grad_logprobs[rows],
                    None if grad_entropy is None else grad_entropy[rows],
                    spaces[1],
                )
                if slope is not None:
                    grad *= slope
                if form.temperature != 1.0:
                    grad /= form.temperature
                low = grad.to(hidden.dtype)
                _add_product(grad_hidden, rows, low, used[columns])
                _add_product(grad_weight, columns, low.T, hidden[rows])
                if grad_bias is not None:
                    grad_bias[columns] += grad.sum(0)
                del slope, low
        return (
            None if grad_hidden is None else grad_hidden.to(hidden.dtype),
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None,
            None if grad_bias is None else grad_bias.to(bias.dtype),
            None,
        )


def _chosen(ids: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
    """``[n]`` which of ``ids`` lie in ``columns``, and their places ``[n, 1]`` there (any place for the others)."""
    inside = (ids >= columns.start) & (ids < columns.stop)
    return inside, (ids - columns.start).clamp(0, columns.stop - columns.start - 1)[:, None]


def _add_product(total: Tensor | None, part: slice, left: Tensor, right: Tensor) -> None:
    """Adds ``left @ right`` to ``total[part]``, which is float32; nothing where no gradient is wanted."""
    if total is None:
        return
    if left.dtype == torch.float32:
        total[part].addmm_(left, right)
    else:
        total[part] += left @ right


def _grad_scaled_logits(
    log_p: Tensor,
    chosen: tuple[Tensor, Tensor],
    entropy: Tensor,
    grad_logprobs: Tensor,
    grad_entropy: Tensor | None,
    space: Tensor,
) -> Tensor:
    """Gradient in ``z``: ``g (onehot - p) - h p (log p + entropy)`` for upstream gradients ``g`` and ``h``.

    ``log_p``: ``[n, m]``, a chunk of the vocabulary, changed here; ``chosen``: see `_chosen`; ``entropy``, ``g`` and
    ``h``: ``[n]``, ``h`` None for zeros. The result lies in the first places of ``space``.
    """
    probabilities = torch.exp(log_p, out=space[: log_p.numel()].view_as(log_p))
    if grad_entropy is None:
        grad = probabilities.mul_(-grad_logprobs[:, None])
    else:
        factor = log_p.add_(entropy[:, None]).mul_(grad_entropy[:, None]).add_(grad_logprobs[:, None]).neg_()
        grad = probabilities.mul_(factor)
    inside, places = chosen
    return grad.scatter_add_(1, places, torch.where(inside, grad_logprobs, 0.0)[:, None])
