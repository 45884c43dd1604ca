"""The concentration of a step's prompts, read off the forward passes that the update makes anyway.

Departures from the reference release, which averages one cosine matrix over the tokens of prompt and completion:

1. By default only prompt tokens count, as C_intra and C_inter of the ranking signal; with ``completion_lengths`` the
   tokens of prompt and completion are one segment, as released.
2. As released measures one completion of each prompt in a pass; the release averages over the whole batch.
3. States are normalised over the hidden axis. (One of the released ports normalises over tokens.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from gainrl.functional.angles import direction_sums, intra_concentration, segment_sums, weighted_concentration
from gainrl.signals.activations import tapped
from gainrl.signals.angle import AngleSignal
from gainrl.training.collection import Experience
from gainrl.training.concentration_settings import Concentration
from gainrl.training.distributed.ranks import Ranks
from gainrl.training.scorer import Scorer
from gainrl.types import PromptTokens


class PromptWatch:
    """Watches the first pass of each step's update (``concentration=None``: nothing to watch) on ``model``."""

    def __init__(self, concentration: Concentration | None, model: nn.Module, ranks: Ranks) -> None:
        self.probe = None if concentration is None else probe_of(concentration, model)
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


_TERMS = ("intra", "inter")


class Span(Protocol):
    """Prompt ``prompt`` lies in columns ``start`` to ``stop`` of row ``row`` of a forward's activations."""

    @property
    def prompt(self) -> int: ...
    @property
    def row(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def stop(self) -> int: ...


class ConcentrationProbe:
    """Reads the concentration that ``angle`` defines off the forward passes of ``model``.

    Hooks are installed around a watched forward only. Raises ValueError if the model has no such activation.
    """

    def __init__(self, model: nn.Module, angle: AngleSignal | None = None) -> None:
        self.model = model
        self.angle = angle or AngleSignal()
        (self.tap,) = self.angle.taps
        with tapped(model, [self.tap]):
            pass  # refused here, not in the middle of the first update

    def watch(
        self, prompts: Sequence[PromptTokens], completion_lengths: Sequence[int] | None = None
    ) -> ConcentrationWatch:
        """A watch over the forwards that run ``prompts``.

        ``completion_lengths``: tokens of the completion behind the prompt of each row of the forward; with them the
        mean cosine of prompt and completion is measured, all but the last token, which no pass runs.
        """
        return ConcentrationWatch(self, prompts, completion_lengths)


def probe_of(concentration: Concentration, model: nn.Module) -> ConcentrationProbe:
    """Raises ValueError, naming the setting to change, if ``model`` has no such activation."""
    try:
        return ConcentrationProbe(model, concentration.angle)
    except ValueError as fault:
        raise ValueError(str(fault).replace("signal.", f"{concentration.typed_at}.")) from fault


class ConcentrationWatch:
    """Called with where the prompts lie, it is a context for one forward call; `concentrations` gives what it saw.

    `terms` gives C_intra and C_inter apart. A prompt that several calls run has the mean of what they showed.
    """

    def __init__(
        self, probe: ConcentrationProbe, prompts: Sequence[PromptTokens], completion_lengths: Sequence[int] | None
    ) -> None:
        self._probe = probe
        self._prompts = prompts
        self._completion_lengths = completion_lengths
        self._seen: list[tuple[list[int], Tensor]] = []

    def __call__(self, spans: Sequence[Span]) -> AbstractContextManager[None]:
        return self._watching(spans)

    def concentrations(self) -> np.ndarray:
        """``[P]`` float64, NaN for prompts that no watched forward ran."""
        return self._means()[0]

    def terms(self) -> dict[str, np.ndarray]:
        """``intra`` and ``inter``: ``[P]`` float64 without their weights, NaN where a term is not defined.

        Empty where prompt and completion are measured as one segment.
        """
        return {} if self._completion_lengths is not None else dict(zip(_TERMS, self._means()[1:], strict=True))

    def _means(self) -> np.ndarray:
        """``[1 or 3, P]``: the concentration, and its terms where there are two segments."""
        rows = 1 if self._completion_lengths is not None else 1 + len(_TERMS)
        total, count = np.zeros((rows, len(self._prompts))), np.zeros(len(self._prompts))
        for indices, values in self._seen:
            np.add.at(total.T, indices, values.double().cpu().numpy().T)
            np.add.at(count, indices, 1)
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

    @contextmanager
    def _watching(self, spans: Sequence[Span]) -> Iterator[None]:
        with tapped(self._probe.model, [self._probe.tap]) as states:
            yield
        if spans:
            self._seen.append(([span.prompt for span in spans], self._measure(states[self._probe.tap], spans)))

    @torch.no_grad()
    def _measure(self, hidden: Tensor, spans: Sequence[Span]) -> Tensor:
        """``[1 or 3, len(spans)]``, see `_means`."""
        rows = [span.row for span in spans]
        if rows != list(range(len(hidden))):
            hidden = hidden[torch.tensor(rows, device=hidden.device)]
        if self._completion_lengths is not None:
            lengths = [self._completion_lengths[span.row] for span in spans]
            ends = [span.stop + max(length - 1, 0) for span, length in zip(spans, lengths, strict=True)]
            if max(ends) > hidden.shape[1]:
                raise ValueError(
                    f"The forward ran {hidden.shape[1]} columns but prompt and completion need {max(ends)}: it ran the "
                    "prompts by themselves; score whole rows (share_prompts=False) or measure prompt tokens only."
                )
            both = self._mask(hidden, [(span.start, end) for span, end in zip(spans, ends, strict=True)])
            return intra_concentration(direction_sums(hidden, both), diagonal=self._probe.angle.diagonal)[None]
        prompts = [self._prompts[span.prompt] for span in spans]
        questions = [
            (span.start + prompt.question[0], span.start + prompt.question[1])
            for span, prompt in zip(spans, prompts, strict=True)
        ]
        before = [(span.start, start) for span, (start, _) in zip(spans, questions, strict=True)]
        sums = segment_sums(hidden, torch.stack([self._mask(hidden, part) for part in (questions, before)], 1))
        angle = self._probe.angle
        value, intra, inter = weighted_concentration(
            sums.segment(0), sums.segment(1), intra=angle.intra, inter=angle.inter, diagonal=angle.diagonal
        )
        assert inter is not None
        return torch.stack([value, intra, inter])

    @staticmethod
    def _mask(hidden: Tensor, spans: list[tuple[int, int]]) -> Tensor:
        bounds = torch.tensor(spans, device=hidden.device)
        columns = torch.arange(hidden.shape[1], device=hidden.device)[None]
        return (columns >= bounds[:, :1]) & (columns < bounds[:, 1:])
