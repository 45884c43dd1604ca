"""The concentration of a step's prompts, read off the forwards of the update."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from gainrl.signals.live import ConcentrationProbe, ConcentrationWatch
from gainrl.training.distributed.ranks import Ranks
from gainrl.training.experience import Experience
from gainrl.training.scorer import Scorer


class PromptWatch:
    """Watches the first pass of each step's update with ``probe`` (None: nothing to watch).

    ``with_completions`` measures prompt and completion as one segment, as released, instead of the prompt.
    """

    def __init__(
        self, probe: ConcentrationProbe | None, *, with_completions: bool = False, ranks: Ranks | None = None
    ) -> None:
        self.probe, self.with_completions, self.ranks = probe, with_completions, ranks or Ranks()
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

    def note(self, experience: Experience) -> dict[str, float]:
        """Gives every group the mean concentration that its prompt showed, and the means of the terms; then forgets."""
        watches, self.watches = self.watches, []
        seen = [(watch.concentrations(), watch.terms()) for watch in watches]
        seen = [each for part in self.ranks.gather(seen) for each in part]
        if not seen:
            return {}
        values_P = _mean_of_known([values for values, _ in seen])
        for group, value in zip(experience.groups, values_P, strict=True):
            group.concentration = float(value)
        means = {}
        for name in seen[0][1]:
            terms_P = _mean_of_known([terms[name] for _, terms in seen])
            if not np.isnan(terms_P).all():
                means[f"concentration/{name}"] = float(np.nanmean(terms_P))
        return means

    @torch.no_grad()
    def measure(self, experience: Experience, scorer: Scorer) -> float:
        """Mean concentration of a step that made no update, by forwards of their own; NaN where nothing is known."""
        for part, counts in scorer.own_parts(experience, torch.arange(len(experience.lengths))):
            scorer.scored(scorer.policy, experience, part, watch=self.over(experience, part) if counts else None)
        self.note(experience)
        known = [group.concentration for group in experience.groups if not np.isnan(group.concentration)]
        return float(np.mean(known)) if known else float("nan")


def _mean_of_known(rows: Sequence[np.ndarray]) -> np.ndarray:
    """``[P]`` means of the numbers in each column of ``rows`` (``[P]`` each); NaN where none is known."""
    table = np.stack(rows)
    known = ~np.isnan(table)
    counts = known.sum(axis=0)
    total = np.where(known, table, 0.0).sum(axis=0)
    return np.divide(total, counts, out=np.full(len(total), np.nan), where=counts > 0)
