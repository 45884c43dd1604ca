"""Log-probabilities and entropies of chosen tokens, without ever holding the logits of a whole batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gainrl.signals.activations import decoder_and_blocks

_LOGITS_AT_ONCE = 1 << 25  # 128 MiB of float32


@dataclass(frozen=True, slots=True)
class TokenScores:
    """``logprobs`` and ``entropies`` (nats), ``[P, T]`` float32, of the tokens given all before them; 0 unscored."""

    logprobs: Tensor
    entropies: Tensor


class LogitHead:
    """The language model head of ``model``: final states ``[M, D]`` to logits ``[M, V]``.

    Raises ValueError if the model does more to its logits than this class knows of.
    """

    def __init__(self, model: nn.Module) -> None:
        model_: Any = model
        config: Any = model_.config.get_text_config()
        self._projection = model_.get_output_embeddings()
        self._softcap = getattr(config, "final_logit_softcapping", None)
        # Some models scale their logits after the head; a probe of two tokens finds out instead of a list of names.
        probe = torch.zeros(1, 2, dtype=torch.long, device=next(model.parameters()).device)
        with torch.autocast(probe.device.type, enabled=False):
            expected = model_(input_ids=probe, use_cache=False).logits[0].float()
            found = self(decoder_and_blocks(model)[0](input_ids=probe, use_cache=False)[0][0]).float()
        if not torch.allclose(found, expected, rtol=1e-2, atol=1e-3 * max(1.0, float(expected.abs().max()))):
            raise ValueError(
                f"{type(model).__name__} changes its logits behind the language model head in a way that is not known "
                "here, so token probabilities would be wrong; use a signal that needs no logits (signal=angle)."
            )

    def __call__(self, final_MD: Tensor) -> Tensor:
        # In bfloat16, a log-softmax over a large vocabulary would err by hundredths of a nat.
        with torch.autocast(final_MD.device.type, enabled=False):
            logits = self._projection(final_MD.to(self._projection.weight.dtype))
        return logits if self._softcap is None else torch.tanh(logits / self._softcap) * self._softcap


def score_tokens(head: LogitHead, preceding_PTD: Tensor, ids_PT: Tensor, mask_PT: Tensor) -> TokenScores:
    """Scores the tokens ``ids_PT`` that ``mask_PT`` marks.

    ``preceding_PTD``: ``[P, T, D]`` final states, each of the token before the one to score.
    """
    logprobs = torch.zeros(ids_PT.shape, dtype=torch.float32, device=ids_PT.device)
    entropies = torch.zeros_like(logprobs)
    states, targets = preceding_PTD[mask_PT], ids_PT[mask_PT]
    scored_logprobs, scored_entropies = [], []
    start, width = 0, 1
    while start < len(targets):
        logits = head(states[start : start + width]).float()
        log_all = torch.log_softmax(logits, -1)
        chosen = targets[start : start + len(logits)]
        scored_logprobs.append(log_all.gather(-1, chosen[:, None])[:, 0])
        scored_entropies.append(-(log_all.exp() * log_all).nan_to_num(nan=0.0).sum(-1))
        start += len(logits)
        width = max(1, _LOGITS_AT_ONCE // logits.shape[1])  # the first row shows how wide the vocabulary is
    if scored_logprobs:
        logprobs[mask_PT] = torch.cat(scored_logprobs)
        entropies[mask_PT] = torch.cat(scored_entropies)
    return TokenScores(logprobs, entropies)
