"""The concentration of a step's prompts: what is measured, and how it is read off the forwards of the update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from gainrl.signals.activations import Activation
from gainrl.signals.angle import AngleSignal
from gainrl.signals.live import ConcentrationProbe, ConcentrationWatch
from gainrl.training.distributed.ranks import Ranks
from gainrl.training.experience import Experience
from gainrl.training.scorer import Scorer

Tokens = Literal["prompt", "prompt_and_completion"]
_OF_ANGLE = ("intra", "inter", "layer", "activation", "diagonal")


@dataclass(frozen=True, slots=True)
class Concentration:
    """What is measured of the prompts that train: the concentration of ``angle``.

    ``with_completions``: the mean cosine over prompt and completion as one segment, as released, in place of the terms
    of the prompt. ``typed_at``: the node of the configuration that holds the settings of ``angle``.
    """

    angle: AngleSignal = field(default_factory=AngleSignal)
    with_completions: bool = False
    typed_at: str = "concentration"

    def probe(self, model: nn.Module) -> ConcentrationProbe:
        """Raises ValueError, naming the setting to change, if ``model`` has no such activation."""
        try:
            return ConcentrationProbe(model, self.angle)
        except ValueError as fault:
            raise ValueError(str(fault).replace("signal.", f"{self.typed_at}.")) from fault


@dataclass(frozen=True, kw_only=True, slots=True)
class ConcentrationSettings:
    """``tokens``: ``prompt``, or ``prompt_and_completion`` as released.

    With ``follow_signal``, terms, layer, activation and diagonal are those of the signal that orders the prompts, as
    far as it is an angle: None takes its value, and another value than its own is refused. Without it, or with another
    signal, None takes the published value. Raises ValueError for unknown tokens and for terms that would do nothing.
    """

    tokens: Tokens = "prompt"
    follow_signal: bool = True
    intra: float | None = None
    inter: float | None = None
    layer: int | float | None = None
    activation: Activation | None = None
    diagonal: bool | None = None

    def __post_init__(self) -> None:
        if self.tokens not in get_args(Tokens):
            raise ValueError(f"concentration.tokens={self.tokens!r} is unknown; use {' or '.join(get_args(Tokens))}")
        terms = {"intra": self.intra, "inter": self.inter}
        idle = [f"concentration.{name}={weight}" for name, weight in terms.items() if weight not in (None, 1)]
        if idle and self.tokens == "prompt_and_completion":
            raise ValueError(
                f"{', '.join(idle)} would do nothing: concentration.tokens=prompt_and_completion measures prompt and "
                "completion as one segment, without terms; leave the weights out, or type concentration.tokens=prompt"
            )

    def of(self, signal: Any) -> Concentration:
        """The concentration to measure beside ``signal`` (None: a run without one); ValueError if they contradict."""
        typed = {name: value for name in _OF_ANGLE if (value := getattr(self, name)) is not None}
        angle, path = _angle_of(signal) if self.follow_signal else (None, "")
        if angle is None:
            return Concentration(AngleSignal(**typed), self.tokens == "prompt_and_completion", "concentration")
        for name, value in typed.items():
            own = getattr(angle, name)
            if value != own:
                raise ValueError(
                    f"concentration.{name}={value} contradicts {path}.{name}={own}: one concentration would order the "
                    f"prompts and another move the window. Type {path}.{name}={value} and leave concentration.{name} "
                    "out, or type concentration.follow_signal=false to measure another one on purpose"
                )
        return Concentration(angle, self.tokens == "prompt_and_completion", path)


def _angle_of(signal: Any, path: str = "signal") -> tuple[AngleSignal | None, str]:
    """The angle that a signal is, or is derived from, and where its settings are typed."""
    if isinstance(signal, AngleSignal):
        return signal, path
    base = getattr(signal, "base", None)
    return (None, path) if base is None else _angle_of(base, f"{path}.base")


class PromptWatch:
    """Watches the first pass of each step's update (``concentration=None``: nothing to watch) on ``model``."""

    def __init__(self, concentration: Concentration | None, model: nn.Module, ranks: Ranks) -> None:
        self.probe = None if concentration is None else concentration.probe(model)
        self.with_completions = concentration is not None and concentration.with_completions
        self.ranks = ranks
        self.watches: list[ConcentrationWatch] = []

    def follow(self, model: nn.Module) -> None:
        """Watches another model of the same kind from now on."""
        if self.probe is not None:
            self.probe.model = model

    def over(self, experience: Experience, rows: Tensor) -> ConcentrationWatch | None:
        """What to hand to the forward that scores ``rows``."""
        if self.probe is None:
            return None
        lengths = experience.lengths[rows].tolist() if self.with_completions else None
        self.watches.append(self.probe.watch(experience.prompts, lengths))
        return self.watches[-1]

    def take(self) -> tuple[np.ndarray | None, dict[str, float]]:
        """``[P]`` mean concentration of each prompt (NaN: not in any forward) and means of the terms; then forgets.

        None where nothing was watched.
        """
        watches, self.watches = self.watches, []
        seen = [(watch.concentrations(), watch.terms()) for watch in watches]
        seen = [each for part in self.ranks.gather(seen) for each in part]
        if not seen:
            return None, {}
        means = {}
        for name in seen[0][1]:
            terms_P = _mean_of_known([terms[name] for _, terms in seen])
            if not np.isnan(terms_P).all():
                means[f"concentration/{name}"] = float(np.nanmean(terms_P))
        return _mean_of_known([values for values, _ in seen]), means

    @torch.no_grad()
    def measure(self, experience: Experience, scorer: Scorer) -> Mapping[int, float]:
        """Concentrations by pool row of a step that made no update, by forwards of their own."""
        for part, counts in scorer.own_parts(experience, torch.arange(len(experience.lengths))):
            scorer.scored(scorer.policy, experience, part, watch=self.over(experience, part) if counts else None)
        return by_row(experience.pool_rows, self.take()[0])


def by_row(pool_rows: Sequence[int], values_P: np.ndarray | None) -> dict[int, float]:
    """The numbers that are known, by the pool row of their prompt."""
    if values_P is None:
        return {}
    return {int(row): float(value) for row, value in zip(pool_rows, values_P, strict=True) if not np.isnan(value)}


def _mean_of_known(rows: Sequence[np.ndarray]) -> np.ndarray:
    """``[P]`` means of the numbers in each column of ``rows`` (``[P]`` each); NaN where none is known."""
    table = np.stack(rows)
    known = ~np.isnan(table)
    counts = known.sum(axis=0)
    total = np.where(known, table, 0.0).sum(axis=0)
    return np.divide(total, counts, out=np.full(len(total), np.nan), where=counts > 0)
