"""Collecting the experience of a step: rollouts and verdicts of its prompts, round after round while admission asks."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gainrl.allocation.fixed import FixedAllocation
from gainrl.functional.returns import overlong_penalty
from gainrl.functional.streams import stream_key
from gainrl.functional.thinking import TAG
from gainrl.rewards.verdicts import checked
from gainrl.training.algorithm import Algorithm
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.distributed.shares import Judged, in_shares
from gainrl.training.rounds import checked_counts, extended, together
from gainrl.training.runtime import Runtime
from gainrl.types import (
    Admission,
    AdmissionDecision,
    Allocation,
    FinishReason,
    GroupOutcome,
    Judgement,
    Policy,
    Problem,
    PromptBatch,
    PromptTokens,
    Prospects,
    Reward,
    Rollout,
    RolloutEngine,
    SamplingParams,
    Verdict,
)


@dataclass(slots=True)
class Experience:
    """``P`` prompts and their groups of completions; the rows of a prompt follow those of the prompt before it.

    A prompt has ``group_size`` completions, or as many as its allocation gave it (``sizes``: ``P`` numbers).
    ``pool_rows``: ``P`` places in the pool; ``completion_ids``: ``[B, T]`` int64, right-padded with ``pad_id``;
    ``lengths``: ``[B]``; ``truncated``: ``[B]`` bool; ``texts`` and ``verdicts``: ``B`` of each. ``engine_logprobs``:
    ``[B, T]`` of the engine that sampled, None where it has none.

    The last ``replayed`` prompts come from earlier steps (`training.replay`). ``stored_logprobs``: ``[B, T]`` of the
    policies that sampled them, NaN in the rows of this step; None where there are none.
    """

    group_size: int
    pad_id: int
    pool_rows: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    prompts: list[PromptTokens] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    groups: list[GroupOutcome] = field(default_factory=list)
    completion_ids: Tensor = field(default_factory=lambda: _empty(0, 0))
    lengths: Tensor = field(default_factory=lambda: _empty(0))
    truncated: Tensor = field(default_factory=lambda: _empty(0, dtype=torch.bool))
    engine_logprobs: Tensor | None = None
    sizes: list[int] = field(default_factory=list)
    replayed: int = 0
    stored_logprobs: Tensor | None = None

    def as_sampled(self, logprobs_RT: Tensor, rows: Tensor) -> Tensor:
        """Log-probabilities of the policy that sampled ``rows``, given those of the policy before this step."""
        if self.stored_logprobs is None:
            return logprobs_RT
        stored_RT = self.stored_logprobs[rows].to(logprobs_RT)
        return torch.where(stored_RT.isnan(), logprobs_RT, stored_RT)

    @property
    def owners(self) -> Tensor:
        """``[B]`` which prompt each completion is of."""
        return torch.repeat_interleave(torch.arange(len(self.sizes)), torch.tensor(self.sizes, dtype=torch.int64))

    def rows_of(self, prompt: int) -> range:
        """The rows of a prompt's completions."""
        start = sum(self.sizes[:prompt])
        return range(start, start + self.sizes[prompt])

    def places(self, device: torch.device) -> tuple[tuple[int, int], Tensor | None]:
        """``(P, G)`` with the largest group for ``G``, and ``places_B`` of `functional.advantages.step_advantages`.

        None for the places where all groups are of one size, since row and place are the same then.
        """
        largest = max(self.sizes, default=0)
        shape = (len(self.sizes), largest)
        if len(set(self.sizes)) <= 1:
            return shape, None
        members = torch.cat([torch.arange(size) for size in self.sizes])
        return shape, (self.owners * largest + members).to(device)

    def add(
        self,
        batch: PromptBatch,
        rollout: Rollout,
        texts: Sequence[str],
        verdicts: Sequence[Verdict],
        groups: Sequence[GroupOutcome],
    ) -> None:
        """Appends one round; completions of rounds of different width are padded to the widest."""
        self.pool_rows.extend(int(row) for row in batch.rows)
        self.problems.extend(batch.problems)
        self.prompts.extend(batch.prompts)
        self.texts.extend(texts)
        self.verdicts.extend(verdicts)
        self.groups.extend(groups)
        self.sizes.extend(rollout.group_sizes)
        self.completion_ids = _stacked(self.completion_ids, rollout.completion_ids, self.pad_id)
        if rollout.sampling_logprobs is not None:
            known = _empty(0, 0, dtype=torch.float32) if self.engine_logprobs is None else self.engine_logprobs
            self.engine_logprobs = _stacked(known, rollout.sampling_logprobs, 0)
        self.lengths = torch.cat([self.lengths.to(rollout.lengths.device), rollout.lengths])
        self.truncated = torch.cat([self.truncated.to(rollout.truncated.device), rollout.truncated])


def _stacked(known_BT: Tensor, new_BT: Tensor, fill: int) -> Tensor:
    """Rows of both, the narrower ones filled up on the right."""
    width = max(known_BT.shape[1], new_BT.shape[1])
    rows = known_BT.to(new_BT.device), new_BT
    return torch.cat([pad(row, (0, width - row.shape[1]), value=fill) for row in rows])


def _empty(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.zeros(*shape, dtype=dtype)


def outcomes(
    batch: PromptBatch,
    rollout: Rollout,
    verdicts: Sequence[Verdict],
    rewards: np.ndarray,
    *,
    step: int,
) -> list[GroupOutcome]:
    """One `GroupOutcome` per prompt; ``rewards``: ``[B]``, shaping included.

    A completion that was cut keeps its verdict here, whatever the rule that decides whether it trains.
    """
    correct = np.array([verdict.correct for verdict in verdicts])
    valid = ~np.array([verdict.excluded for verdict in verdicts])
    truncated = np.array([reason is FinishReason.LENGTH for reason in rollout.finish_reasons])
    lengths = rollout.lengths.cpu().numpy()
    return [
        GroupOutcome(
            row=int(row),
            step=step,
            rewards=rewards[start:stop],
            correct=correct[start:stop],
            lengths=lengths[start:stop],
            truncated=truncated[start:stop],
            valid=valid[start:stop],
        )
        for row, (start, stop) in zip(batch.rows, _spans(rollout.group_sizes), strict=True)
    ]


def _spans(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """First row of each group and the row behind its last."""
    edges = np.concatenate([[0], np.cumsum(sizes)]).astype(int).tolist()
    return list(pairwise(edges))


@dataclass(frozen=True, slots=True)
class Collector:
    """Rolls out and judges; see `GRPOModule` for the arguments."""

    policy: Policy
    engine: RolloutEngine
    reward: Reward
    admission: Admission
    algorithm: Algorithm
    sampling: SamplingParams
    prompts_per_step: int
    runtime: Runtime
    allocation: Allocation = field(default_factory=FixedAllocation)

    def collect(self, batch: PromptBatch, data: PromptDataModule) -> tuple[Experience, AdmissionDecision]:
        """The experience of the next step, and the decision which of its prompts train."""
        experience = Experience(self.sampling.group_size, self.policy.pad_id)
        round_ = 0
        while True:
            self.roll_out(batch, experience, data)
            data.observe(experience.groups[-len(batch) :] if len(batch) else [])
            decision = self.admission.admit(experience.groups, self.prompts_per_step, round_)
            missing = min(decision.missing, data.left)
            if decision.missing and not missing:  # the pool has no other prompt: the rule for exhaustion decides
                decision = self.admission.admit(experience.groups, self.prompts_per_step, sys.maxsize)
            if not missing:
                break
            round_ += 1
            batch = data.refill(missing)
        return experience, decision

    def roll_out(self, batch: PromptBatch, experience: Experience, data: PromptDataModule) -> None:
        """Adds the completions of some prompts, with verdicts and groups, to ``experience``.

        The allocation says how many each prompt gets, round after round.
        """
        if not len(batch):
            return
        size = self.sampling.group_size
        prospects = Prospects(data.pool.history.expected_rates(batch.rows, size), size * len(batch), size)
        counts = checked_counts(self.allocation.plan(prospects), len(batch), prospects.budget, least=1)
        judged = self._round(batch, counts, np.zeros_like(counts))
        while True:
            groups = self._outcomes(batch, judged)
            left = prospects.budget - sum(judged[0].group_sizes)
            more = checked_counts(self.allocation.more(groups, left), len(batch), left, least=0)
            if not more.any():
                break
            judged = extended(judged, self._round(batch, more, np.array(judged[0].group_sizes)), self.policy.pad_id)
        rollout, texts, verdicts = judged
        experience.add(batch, rollout, texts, verdicts, groups)

    def _round(self, batch: PromptBatch, counts: np.ndarray, drawn: np.ndarray) -> Judged:
        """``counts`` more completions of each prompt, which has ``drawn`` of them; the prompts of a call are alike.

        A call is made for each pair of the two numbers that occurs, so that equal groups take one.
        """
        parts: list[tuple[np.ndarray, Judged]] = []
        for count, first in sorted({(int(c), int(f)) for c, f in zip(counts, drawn, strict=True) if c}):
            places = np.flatnonzero((counts == count) & (drawn == first))
            alike = batch if len(places) == len(batch) else batch.part(places.tolist())
            work = partial(self.completions, sampling=replace(self.sampling, group_size=count, first=first))
            ranks = self.runtime.ranks
            judged = work(alike) if ranks.size == 1 else in_shares(work, alike, ranks, self.policy.pad_id)
            tokens = int(judged[0].lengths.sum())
            self.runtime.clock.count(tokens, "rollout")
            self.runtime.clock.count(tokens, "reward")
            parts.append((places, judged))
        return together(batch, counts, parts, self.policy.pad_id)

    def _outcomes(self, batch: PromptBatch, judged: Judged) -> list[GroupOutcome]:
        rollout, _, verdicts = judged
        overlong = self.algorithm.overlong
        rewards = np.array([verdict.value for verdict in verdicts], np.float64)
        if overlong is not None:
            limit = self.sampling.max_new_tokens
            buffer = max(1, round(overlong["buffer_fraction"] * limit))
            rewards = rewards + overlong_penalty(rollout.lengths.cpu(), limit, buffer).numpy()
        return outcomes(batch, rollout, verdicts, rewards, step=self.runtime.counters.step)

    def completions(self, batch: PromptBatch, *, sampling: SamplingParams) -> Judged:
        """Completions of some prompts with their texts and verdicts.

        The stream of a completion is keyed by seed, step and problem: with an engine that draws from these streams
        alone (`rollouts.hf`) neither the other prompts of the batch nor the rank that draws it change it.
        """
        step = self.runtime.counters.step
        keys = torch.tensor(
            [stream_key(self.runtime.seed, "generation", step, problem.id) for problem in batch.problems],
            dtype=torch.int64,
        )
        with self.runtime.clock("rollout"):
            rollout = self.engine.generate(self.policy, batch.prompts, sampling, keys)
            if rollout.version is not None and rollout.version != self.policy.version:
                raise RuntimeError(
                    f"step {step + 1}: the engine sampled with version {rollout.version} of the weights, the policy is "
                    f"at version {self.policy.version}; its completions would train the wrong policy"
                )
        with self.runtime.clock("reward"):
            return rollout, *score_rollout(self.policy, self.reward, rollout, batch.problems)


def completion_texts(tokenizer: Any, completions: Sequence[Sequence[int]]) -> list[str]:
    """The texts of token ids, without special tokens other than the tags of thinking parts."""
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    tags = {token for token in special if TAG.fullmatch(tokenizer.added_tokens_decoder[token].content)}
    if not tags:
        return tokenizer.batch_decode(completions, skip_special_tokens=True)
    hidden = special - tags
    shown = [[token for token in row if token not in hidden] for row in completions]
    return tokenizer.batch_decode(shown, skip_special_tokens=False)


def score_rollout(
    policy: Policy, reward: Reward, rollout: Rollout, problems: Sequence[Problem]
) -> tuple[list[str], list[Verdict]]:
    """Texts and verdicts of the completions of a rollout; ``problems``: one per prompt.

    Special tokens are left out of the texts, except the tags of thinking, without which a judge could not tell a
    thought from an answer. A reward that asks for lengths gets them in tokens. Verdicts that cannot train become error
    verdicts (`rewards.verdicts.checked`).
    """
    ids = zip(rollout.completion_ids.tolist(), rollout.lengths.tolist(), strict=True)
    texts = completion_texts(policy.tokenizer, [row[:length] for row, length in ids])
    repeated = [one for one, size in zip(problems, rollout.group_sizes, strict=True) for _ in range(size)]
    scorer: Any = reward
    lengths = {"lengths": rollout.lengths.tolist()} if getattr(reward, "uses_lengths", False) else {}
    verdicts = scorer.score(texts, repeated, **lengths)
    if not isinstance(reward, _Watched):  # which has checked them
        verdicts = checked(verdicts, len(texts), type(reward).__name__)
    return texts, verdicts


WINDOW = 200


class RewardFailures:
    """Counts completions that could not be judged (`Judgement.ERROR`), over all rewards given to `watched`.

    ``max_rate``: share of the last ``window`` completions, beyond which ``give_up`` is called with the reason; in a
    run that is younger than that, as many failures. 1 for never. Raises ValueError for values out of range.
    """

    def __init__(self, *, max_rate: float, give_up: Callable[[str], None], window: int = WINDOW) -> None:
        if not 0 <= max_rate <= 1:
            raise ValueError(
                f"faults.reward_failure_rate={max_rate} is not a share; type a number from 0 (the first failure stops "
                "the run) to 1 (no failure does)"
            )
        self.max_rate, self.window = max_rate, window
        self.total = 0
        self._give_up = give_up
        self._recent: deque[bool] = deque(maxlen=window)

    def watched(self, reward: Reward) -> Reward:
        """The same reward, watched; one that raises has failed for all its completions."""
        return _Watched(reward, self)

    def note(self, verdicts: Sequence[Verdict]) -> None:
        failed = [verdict.judgement is Judgement.ERROR for verdict in verdicts]
        self.total += sum(failed)
        self._recent.extend(failed)
        count = sum(self._recent)
        if any(failed) and count > self.max_rate * self.window:
            last = verdicts[max(index for index, one in enumerate(failed) if one)]
            self._give_up(
                f"{count} of the last {len(self._recent)} completions could not be judged, which is more than "
                f"faults.reward_failure_rate={self.max_rate} of {self.window}; the last one: {last.detail}"
            )


class _Watched:
    """The reward within, whose verdicts are checked and whose failures are counted."""

    def __init__(self, reward: Reward, failures: RewardFailures) -> None:
        self._reward, self._failures = reward, failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reward, name)

    def score(self, completions: Sequence[str], problems: Sequence[Problem], **options: Any) -> list[Verdict]:
        try:
            verdicts = checked(
                self._reward.score(completions, problems, **options), len(completions), type(self._reward).__name__
            )
        except Exception as fault:
            verdicts = [Verdict(Judgement.ERROR, 0.0, detail=f"{type(fault).__name__}: {fault}")] * len(completions)
        self._failures.note(verdicts)
        return verdicts
