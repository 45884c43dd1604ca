"""One forward pass over many prompts, read by any number of signals at once.

The tokens that all prompts begin with are run once, and their keys and values serve every prompt; the rest is run in
batches of similar length, right-padded, as far as the last token that a signal asks for. Attention is causal, so
nothing behind a token changes its states, and the numbers are those of a plain forward of each prompt by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gainrl.signals.activations import evaluating
from gainrl.signals.prefill_batch import PrefillBatch
from gainrl.signals.protocol import PrefillReader, PrefillSignal, Problems, require_policy
from gainrl.signals.shared_prefix import run_shared_prefix, shared_prefix_length
from gainrl.signals.token_scores import LogitHead, score_tokens
from gainrl.types import Policy, PromptTokens

# Behind the caches of a CPU larger batches run slower; a GPU needs them to be busy.
_TOKENS_PER_BATCH = {"cpu": 1024}
_TOKENS_PER_BATCH_ELSEWHERE = 16384
_MAX_PADDING = 0.1


class PrefillPass:
    """The pass over ``prompts`` for ``signals``: `batches` in order, `measure` for one of them.

    ``tokens_per_batch`` bounds the padded tokens of a batch, shared prefix not counted; None suits the device.
    """

    def __init__(
        self,
        signals: Sequence[PrefillReader],
        problems: Problems,
        prompts: Sequence[PromptTokens],
        policy: Policy,
        *,
        tokens_per_batch: int | None = None,
    ) -> None:
        if tokens_per_batch is None:
            tokens_per_batch = _TOKENS_PER_BATCH.get(policy.device.type, _TOKENS_PER_BATCH_ELSEWHERE)
        if tokens_per_batch < 1:
            raise ValueError(f"tokens_per_batch={tokens_per_batch} holds no token; use 1 or more, such as 8192.")
        self.signals = list(signals)
        self._policy = policy
        self._prompts = prompts
        self._taps = tuple(dict.fromkeys(tap for signal in signals for tap in signal.taps))
        self._answers = self._answer_ids(problems)
        shared = shared_prefix_length(prompts)
        self.tail_lengths = np.array([self._end(row) - shared for row in range(len(prompts))], np.int64)
        self.batches = length_batches(self.tail_lengths, tokens_per_batch)
        needs_logits = any(signal.needs_logits for signal in signals)
        with torch.no_grad(), evaluating(policy.model):
            self._head = LogitHead(policy.model) if needs_logits else None
            longest = int(self.tail_lengths.max(initial=0))
            self._prefix = run_shared_prefix(policy.model, self._taps, prompts[0].ids[:shared], longest, policy.device)

    @property
    def padding_share(self) -> float:
        """Share of the padded tokens of all batches that is padding."""
        padded = sum(len(rows) * int(self.tail_lengths[rows].max()) for rows in self.batches)
        real = sum(int(self.tail_lengths[rows].sum()) for rows in self.batches)
        return 1.0 - real / padded if padded else 0.0

    @torch.no_grad()
    def measure(self, rows: np.ndarray) -> np.ndarray:
        """``[len(signals), len(rows)]`` float64 numbers of the prompts at ``rows``."""
        device, shared = self._policy.device, self._prefix.length
        width = int(self.tail_lengths[rows].max())
        ids = np.zeros((len(rows), width), np.int64)
        segments = np.zeros((3, len(rows), width), bool)
        for place, row in enumerate(rows):
            prompt, answer = self._prompts[row], self._answers.get(int(row), ())
            tokens = (prompt.ids + answer)[shared : self._end(row)]
            # Padding repeats the last token: any id does behind the last real one, and none is a pad id to warn of.
            ids[place] = tokens[-1]
            ids[place, : len(tokens)] = tokens
            start, end = prompt.question
            segments[0, place, start - shared : end - shared] = True
            segments[1, place, : start - shared] = True
            if answer:
                segments[2, place, len(tokens) - len(answer) : len(tokens)] = True
        ids_PT = torch.from_numpy(ids).to(device)
        question, prefix_rest, answer_mask = torch.from_numpy(segments).to(device).unbind(0)
        hidden, final = self._prefix.run_tails(self._policy.model, self._taps, ids_PT, stop=self._head is None)
        scored = question | answer_mask
        scores = None
        if self._head is not None and final is not None:
            first = self._prefix.last_state
            if first is None:
                scored = scored.clone()
                scored[:, 0] = False
                first = torch.zeros_like(final[0, 0])
            preceding = torch.cat([first.expand(len(rows), 1, -1), final[:, :-1]], 1)
            scores = score_tokens(self._head, preceding, ids_PT, scored)
        batch = PrefillBatch(hidden, self._prefix.sums, question, prefix_rest, answer_mask, scored, scores)
        return np.stack([signal.measure(batch).double().cpu().numpy() for signal in self.signals])

    def _answer_ids(self, problems: Problems) -> dict[int, tuple[int, ...]]:
        templates = {text for signal in self.signals if (text := signal.answer_template) is not None}
        if len(templates) > 1:
            raise ValueError(
                f"Signals of one pass want different texts behind the prompt, {sorted(map(repr, templates))}; "
                "give them the same signal.answer_template or ask for them one at a time."
            )
        answers = {}
        for template in templates:
            for row in range(len(self._prompts)):
                text = template.replace("{answer}", problems[row].reference_answer)
                answers[row] = tuple(self._policy.tokenizer.encode(text, add_special_tokens=False))
        return answers

    def _end(self, row: int) -> int:
        """Tokens of prompt ``row``, answer included, that have to be run."""
        if self._answers:
            return len(self._prompts[row]) + len(self._answers[int(row)])
        return self._prompts[row].question[1]


def run_prefill(
    signals: Sequence[PrefillSignal],
    problems: Problems,
    prompts: Sequence[PromptTokens],
    policy: Policy,
    *,
    tokens_per_batch: int | None = None,
) -> np.ndarray:
    """``[len(signals), N]`` float64: all signals of all prompts from one pass."""
    values = np.full((len(signals), len(prompts)), np.nan)
    if len(prompts):
        pass_ = PrefillPass(signals, problems, prompts, policy, tokens_per_batch=tokens_per_batch)
        for rows in pass_.batches:
            values[:, rows] = pass_.measure(rows)
    return values


def compute_by_prefill(
    signal: PrefillSignal,
    problems: Problems,
    prompts: Sequence[PromptTokens],
    policy: Policy | None = None,
    **given: Any,
) -> np.ndarray:
    """`Signal.compute` of every signal that a prefill pass can read, with a pass of its own."""
    return run_prefill([signal], problems, prompts, require_policy(signal.name, policy))[0]


def length_batches(lengths: np.ndarray, tokens_per_batch: int) -> list[np.ndarray]:
    """Rows with tokens in batches of similar length, longest first, so that memory runs out early or not at all.

    A batch holds at most ``tokens_per_batch`` padded tokens (one longer prompt is a batch by itself) of which at most
    a tenth is padding.
    """
    order = np.argsort(-lengths, kind="stable")
    batches: list[np.ndarray] = []
    start = 0
    total = int((lengths > 0).sum())
    while start < total:
        longest = int(lengths[order[start]])
        members = order[start : start + max(1, tokens_per_batch // longest)]
        members = members[lengths[members] > 0]
        counts = np.arange(1, len(members) + 1)
        padding = 1.0 - np.cumsum(lengths[members]) / (counts * longest)
        members = members[: max(1, int((padding <= _MAX_PADDING).sum()))]
        batches.append(members)
        start += len(members)
    return batches
