"""The records that travel between the parts of gainrl, and the protocols at its seams.

Shape letters used throughout the package::

    N  problems in the pool      P  prompts in a step      G  completions per prompt (group size)
    B  completions, B = P * G    T  tokens                 D  hidden width        V  vocabulary

Rows of anything with a ``B`` axis are prompt-major: completion ``g`` of prompt ``p`` is row ``p * G + g``. Where an
allocation gives prompts different numbers of completions, ``B`` is their sum, ``G`` the largest, and the rows of a
prompt follow those of the prompt before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:  # torch is imported where tensors are made, so that what holds none need not wait for it
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with its reference answer.

    ``level`` is an integer difficulty class (1 is the easiest) where the data has one, ``difficulty`` a number
    that grows with hardness; ``extra`` holds what only the reward of this data needs (tests, a scorer's metadata).
    """

    id: str
    question: str
    reference_answer: str
    level: int | None = None
    difficulty: float | None = None
    solution: str | None = None
    source: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source_name(self) -> str:
        """The source without the path in front of it; of a mixture, the name of the data set."""
        return self.source.rpartition("/")[2]


class ProblemSet(Protocol):
    """A read-only, possibly memory-mapped list of problems with stable row numbers."""

    name: str
    fingerprint: str

    def __len__(self) -> int: ...
    def __getitem__(self, row: int) -> Problem: ...
    def __iter__(self) -> Iterator[Problem]: ...
    def column(self, name: str) -> np.ndarray | None:
        """``[N]`` values of ``id``, ``level``, ``difficulty`` or ``source``; None where no row has one.

        Missing levels are -1 and missing difficulties NaN. Never touches the text of the problems.
        """
        ...


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """The token ids of one prompt and where its segments lie.

    ``segments`` maps ``system``, ``example``, ``question`` and ``closing`` to half-open token spans in ``ids``;
    a template that lacks a segment leaves it out. The prefix (system text and worked example) comes first and is
    the same for every prompt of a template.
    """

    ids: tuple[int, ...]
    segments: Mapping[str, tuple[int, int]]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def question(self) -> tuple[int, int]:
        return self.segments["question"]

    @property
    def prefix_length(self) -> int:
        """Tokens before the question, i.e. the part shared by all prompts of the template."""
        return self.segments["question"][0]


@dataclass(slots=True)
class PromptBatch:
    """The prompts of one rollout round: pool rows ``[P]``, the problems, and their tokens."""

    rows: np.ndarray
    problems: list[Problem]
    prompts: list[PromptTokens]

    def __len__(self) -> int:
        return len(self.problems)

    def part(self, places: Sequence[int]) -> PromptBatch:
        """The prompts at some places of the batch."""
        chosen = list(places)
        return PromptBatch(self.rows[chosen], [self.problems[p] for p in chosen], [self.prompts[p] for p in chosen])


@dataclass(slots=True)
class Policy:
    """A causal language model with all that is needed to run it: stop ids, pad id, tokenizer."""

    model: Any  # a transformers PreTrainedModel; Any keeps this layer free of transformers
    tokenizer: Any
    stop_ids: tuple[int, ...]
    pad_id: int
    compiled_decoder: Any = None  # the model's decoder through torch.compile, where training asks for it

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def version(self) -> int:
        """A number that grows whenever weights change in place: by an optimizer's step or a loaded checkpoint.

        It is the sum of PyTorch's own modification counters. Writes through ``parameter.data`` and the steps of fused
        optimizers escape those: see `touch`. It says nothing across processes: a resumed run counts anew.
        """
        return sum(parameter._version for parameter in self.model.parameters())

    def touch(self) -> None:
        """Raises `version`; called after every optimizer step, of whatever optimizer."""
        import torch

        torch.autograd.graph.increment_version(next(self.model.parameters()))


SAMPLING_DEFAULTS = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How completions are drawn. ``temperature=0`` means greedy decoding, ``top_k=0`` all tokens.

    ``first``: completions that each prompt has already; the draws go on behind theirs. ``greedy_first``: the first
    completion of each group is decoded greedily beside the others, where an engine can (`HFEngine`); the others are
    those of a request without it.

    Raises ValueError for values out of range, by the names of their options.
    """

    group_size: int
    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    first: int = 0
    greedy_first: bool = False

    def __post_init__(self) -> None:
        numbers = {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"rollout.{name}={value} is no number; type rollout.{name}={SAMPLING_DEFAULTS[name]}")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"rollout.temperature={self.temperature} must be 0 or more; type rollout.temperature=1.0")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"rollout.top_p={self.top_p} must lie in (0, 1]; type rollout.top_p=1.0 for all tokens")
        if self.top_k < 0 or int(self.top_k) != self.top_k:
            raise ValueError(f"rollout.top_k={self.top_k} must be a whole number; type rollout.top_k=0 for all tokens")


class FinishReason(StrEnum):
    STOP = "stop"  # the model wrote one of its stop ids, which is kept as the last token
    LENGTH = "length"  # cut at max_new_tokens


@dataclass(slots=True)
class Rollout:
    """``B`` completions as the engine produced them; token ids are never re-tokenised.

    A prompt has ``group_size`` of them, or its entry in ``sizes`` (``[P]``) where groups differ. They are prompt-major.

    ``completion_ids``: ``[B, T]`` int64, right-padded. ``lengths``: ``[B]`` int64, stop token included.
    ``sampling_logprobs``: ``[B, T]`` float32 or None where the engine has none. ``version``: the `Policy.version` whose
    weights drew the completions, as the engine knows it; None where it decodes with the policy's weights themselves.
    """

    prompts: list[PromptTokens]
    group_size: int
    completion_ids: Tensor
    lengths: Tensor
    finish_reasons: list[FinishReason]
    sampling_logprobs: Tensor | None = None
    version: int | None = None
    sizes: list[int] | None = None

    @property
    def group_sizes(self) -> list[int]:
        """``[P]`` completions of each prompt."""
        return [self.group_size] * len(self.prompts) if self.sizes is None else self.sizes

    @property
    def mask(self) -> Tensor:
        """``[B, T]`` bool, True on real completion tokens (the stop token among them)."""
        import torch

        positions = torch.arange(self.completion_ids.shape[1], device=self.lengths.device)
        return positions[None, :] < self.lengths[:, None]

    @property
    def truncated(self) -> Tensor:
        """``[B]`` bool, True where the engine cut the completion."""
        import torch

        return torch.tensor([reason is FinishReason.LENGTH for reason in self.finish_reasons])


class RolloutEngine(Protocol):
    def generate(
        self, policy: Policy, prompts: Sequence[PromptTokens], sampling: SamplingParams, keys: Tensor
    ) -> Rollout:
        """Draws ``group_size`` completions for each prompt.

        ``keys``: ``[P]`` int64 stream keys (`functional.streams`); the draw of a completion depends on its prompt's
        key and its place in the group only, so that neither batching nor sharding changes it.
        """
        ...


class Judgement(StrEnum):
    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"  # the completion gives no answer
    GOLD_UNPARSABLE = "gold_unparsable"  # the reference answer cannot be read: a fault of the data
    TIMEOUT = "timeout"
    ERROR = "error"  # the judge failed: a fault of the infrastructure


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reward says of one completion.

    ``value`` is the reward that trains; ``judgement`` the raw verdict that drives curricula and admission.
    ``components`` are the named parts of a weighted reward, before weighting. ``outcome`` is a finer name for the
    judgement where the reward has one (what became of a program).
    """

    judgement: Judgement
    value: float
    components: Mapping[str, float] = field(default_factory=dict)
    detail: str = ""
    outcome: str = ""

    @property
    def correct(self) -> bool:
        return self.judgement is Judgement.CORRECT

    @property
    def excluded(self) -> bool:
        """True where nothing can be said of the completion, so that it must leave its group."""
        return self.judgement in (Judgement.GOLD_UNPARSABLE, Judgement.ERROR)


class Reward(Protocol):
    def score(self, completions: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        """One verdict per completion; ``problems[i]`` belongs to ``completions[i]``. Never raises on model output."""
        ...


@dataclass(slots=True)
class GroupOutcome:
    """What one prompt's group of completions showed. All arrays have ``G`` entries.

    ``correct`` is the raw verdict; ``rewards`` what trains. ``valid`` is False for completions whose judge failed.
    """

    row: int
    step: int
    rewards: np.ndarray
    correct: np.ndarray
    lengths: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray

    @property
    def pass_rate(self) -> float:
        """Share of correct completions among the valid ones; NaN if none is valid."""
        count = int(self.valid.sum())
        return float(self.correct[self.valid].sum()) / count if count else float("nan")

    @property
    def mixed(self) -> bool:
        """True if the valid completions hold both correct and wrong ones, so that the group carries a signal."""
        outcomes = self.correct[self.valid]
        return bool(outcomes.any() and not outcomes.all())


@dataclass(frozen=True, slots=True)
class EpochFeedback:
    """What an epoch showed: the mean 0/1 accuracy of its rollouts (NaN: no completion could be judged)."""

    epoch: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class SignalScores:
    """One number per problem of the pool (``values``: ``[N]`` float64) and which end to learn first."""

    name: str
    values: np.ndarray
    learn_first: Literal["high", "low"] = "high"


@dataclass(slots=True)
class Counters:
    """How far a run is. The module counts; curricula, callbacks and checkpoints read.

    ``step`` counts rollout steps that are complete, ``updates`` optimizer steps. ``skipped_updates`` had no completion
    with a gradient, ``nonfinite_updates`` a loss or gradient that is not finite; ``memory_retries`` counts mini-batches
    repeated in smaller micro-batches.
    """

    step: int = 0
    updates: int = 0
    skipped_updates: int = 0
    nonfinite_updates: int = 0
    nonfinite_in_a_row: int = 0
    memory_retries: int = 0
    prompts: int = 0
    rollouts: int = 0
    generated_tokens: int = 0

    def state_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        for name in self.__slots__:
            setattr(self, name, int(state[name]))


class LiveSignal(Protocol):
    """Measures the signal of some rows under the current policy, at the signal's own cost."""

    def __call__(self, rows: np.ndarray) -> np.ndarray: ...


@runtime_checkable
class Curriculum(Protocol):
    """Decides which prompts to learn from next. Knows nothing of models, Lightning or held-out problems."""

    def start(self, pool: Any, signal: SignalScores | None, seed: int) -> None:
        """Binds the curriculum to its `curricula.pool.PromptPool`; called once per run, before any draw."""
        ...

    def refresh(self, signal: SignalScores) -> None:
        """Takes new values of the signal, measured with the current policy."""
        ...

    def propose(self, n: int, exclude: Sequence[int] = ()) -> np.ndarray:
        """``n`` distinct rows, none of them in ``exclude`` (rows already drawn in this step, when refilling)."""
        ...

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        """Called after every rollout round, with all its groups, those that admission rejects later included."""
        ...

    def after_update(self, concentrations: Mapping[int, float]) -> None:
        """Called after the update of every step, before the next `propose`.

        ``concentrations``: the mean angle concentration, by row, of each prompt that the update ran, under the weights
        that sampled. Groups without a gradient are not in it. Where a whole epoch made no update, it is called once
        more at its end, with the concentrations of the epoch's prompts, measured by a pass of their own.
        """
        ...

    def end_epoch(self, feedback: EpochFeedback) -> None: ...

    def metrics(self) -> dict[str, float]:
        """Scalars to log. Never draws a random number."""
        ...

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Prospects:
    """What is known of a step's ``P`` prompts before their completions are drawn.

    ``rates``: ``[P]`` pass rates to expect, inside (0, 1). ``budget``: completions that the step may draw in all;
    ``group_size`` of them per prompt on average.
    """

    rates: np.ndarray
    budget: int
    group_size: int


class Allocation(Protocol):
    """Shares the completions of a step among its prompts. Holds nothing between two steps."""

    def plan(self, prospects: Prospects) -> np.ndarray:
        """``[P]`` completions of each prompt to begin with, one at least and no more than the budget in all."""
        ...

    def more(self, groups: Sequence[GroupOutcome], left: int) -> np.ndarray:
        """``[P]`` further completions of each prompt, at most ``left`` in all; asked again until all are 0.

        ``groups``: what each prompt has shown so far, one with all its completions.
        """
        ...


@dataclass(frozen=True, slots=True)
class AdmissionDecision:
    """Which groups train (indices into the list given), which do not, and how many more are wanted."""

    kept: list[int]
    rejected: list[int]
    missing: int = 0


class Admission(Protocol):
    def admit(self, groups: Sequence[GroupOutcome], wanted: int, round_: int) -> AdmissionDecision:
        """Judges all groups rolled out in this step so far; ``round_`` counts refills from 0."""
        ...

    def select(self, group: GroupOutcome) -> np.ndarray:
        """Indices of the completions of a kept group that train (all of them unless the method down-samples)."""
        ...
