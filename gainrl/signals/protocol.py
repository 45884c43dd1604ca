"""What a signal is: one number per problem, and what it costs to know it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from gainrl.types import Policy, Problem, ProblemSet, PromptTokens, Reward, RolloutEngine

if TYPE_CHECKING:
    from gainrl.signals.activations import Tap
    from gainrl.signals.prefill_batch import PrefillBatch

Cost = Literal["none", "prefill", "backward", "rollouts"]
COSTS: tuple[Cost, ...] = ("none", "prefill", "backward", "rollouts")
"""The costs of a signal, the cheapest first."""
LearnFirst = Literal["high", "low"]
Problems = ProblemSet | Sequence[Problem]


@runtime_checkable
class Signal(Protocol):
    """One number per problem. ``learn_first`` says which end a curriculum starts from."""

    @property
    def name(self) -> str: ...
    @property
    def cost(self) -> Cost: ...
    @property
    def learn_first(self) -> LearnFirst: ...

    def fingerprint(self) -> str:
        """All settings that change the numbers, as text: part of the key they are cached under."""
        ...

    def compute(
        self,
        problems: Problems,
        prompts: Sequence[PromptTokens],
        policy: Policy | None = None,
        *,
        engine: RolloutEngine | None = None,
        reward: Reward | None = None,
        rows: np.ndarray | None = None,
        step: int = 0,
    ) -> np.ndarray:
        """``[N]`` float64, NaN where the number is not defined.

        ``prompts[i]`` are the tokens of ``problems[i]``; ``rows`` (``[N]`` int) are the pool rows where the problems
        are a part of a pool, so that random streams do not depend on the part. ``step``: training steps done so far;
        rollouts of another step are other draws. ``engine`` and ``reward`` are needed by signals whose cost is
        rollouts.
        """
        ...


class PrefillReader(Protocol):
    """What is read off a forward pass over the prompts."""

    @property
    def taps(self) -> tuple[Tap, ...]:
        """The activations it reads."""
        ...

    @property
    def needs_logits(self) -> bool: ...

    @property
    def answer_template(self) -> str | None:
        """Text to run behind the prompt, ``{answer}`` standing for the reference answer; None for no such text."""
        ...

    def measure(self, batch: PrefillBatch) -> Tensor:
        """``[P]`` numbers of the prompts of a batch, or ``[P, D]`` vectors."""
        ...


@runtime_checkable
class PrefillSignal(PrefillReader, Signal, Protocol):
    """A signal read off one forward pass, so that several of them share the pass."""


@runtime_checkable
class DerivedSignal(Signal, Protocol):
    """A signal that follows from the values of others at no cost of its own."""

    @property
    def bases(self) -> tuple[Signal, ...]: ...

    def derive(self, values: Sequence[np.ndarray], problems: Problems, prompts: Sequence[PromptTokens]) -> np.ndarray:
        """``[N]`` from the values of each of ``bases``, ``[N]`` each."""
        ...


def compute_from_bases(
    signal: DerivedSignal,
    problems: Problems,
    prompts: Sequence[PromptTokens],
    policy: Policy | None = None,
    **given: Any,
) -> np.ndarray:
    """`Signal.compute` of every derived signal: its bases are computed, and it is derived from them."""
    values = [base.compute(problems, prompts, policy, **given) for base in signal.bases]
    return signal.derive(values, problems, prompts)


def settings_text(name: str, settings: Mapping[str, Any]) -> str:
    """A fingerprint from a signal's name and its plain settings; equal settings give equal text."""
    return f"{name} {json.dumps(dict(settings), sort_keys=True)}"


def require_policy(name: str, policy: Policy | None) -> Policy:
    """The policy, or ValueError where a signal that reads a model was not given one."""
    if policy is None:
        raise ValueError(f"The signal {name!r} reads a model's states but no model was given; select one with model=.")
    return policy
