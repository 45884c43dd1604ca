"""``gainrl-report --power``: how many runs an effect takes, from the spread of a pilot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gainrl.functional.contrasts import bases_needed, runs_needed
from gainrl.report.comparisons import (
    FINAL,
    cells_of,
    pairs_runs,
    primary_score,
    scores_of,
    seed_correlation,
)
from gainrl.report.summaries import axes_of
from gainrl.report.sweep import Sweep


@dataclass(frozen=True, slots=True)
class Spread:
    """What a pilot tells: the deviation of runs over seeds, of differences over bases, and their degrees of freedom.

    ``between``: the standard deviation over bases of the true differences, the seeds' noise taken out; ``correlation``
    of arms over seeds, 0 where it is too small or too little known to pair runs by.
    """

    deviation: float
    freedom: int
    between: float
    bases: int
    correlation: float


def spread_of(sweep: Sweep) -> tuple[str, Spread]:
    """The primary score and its spread over all arms. Raises ValueError where no arm has two runs on a base."""
    axes = axes_of(sweep)
    name = primary_score(sweep, axes) if axes else FINAL
    score = scores_of(sweep, axes)[name]
    squares, freedom = 0.0, 0
    for label in sweep.labels:
        if label in sweep.same:
            continue
        for cell in cells_of(sweep, (label,), score, paired=False)[1][0]:
            squares += float(((cell - cell.mean()) ** 2).sum())
            freedom += len(cell) - 1
    if freedom < 1:
        raise ValueError("the spread over seeds is unknown: no arm has two runs on one base; run a second seed")
    deviation = math.sqrt(squares / freedom)
    correlated = seed_correlation(sweep, score)[0] if pairs_runs(sweep, score) else 0.0
    variances, degrees = 0.0, 0
    for label in sweep.others:
        if label in sweep.same:
            continue
        _, cells = cells_of(sweep, (label, sweep.reference), score, paired=False)
        if len(cells[0]) > 1:
            means = np.array([own.mean() - base.mean() for own, base in zip(*cells, strict=True)])
            noise = np.mean([deviation**2 * (1 / len(own) + 1 / len(base)) for own, base in zip(*cells, strict=True)])
            variances += (float(means.var(ddof=1)) - float(noise)) * (len(means) - 1)
            degrees += len(means) - 1
    between = math.sqrt(max(0.0, variances / degrees)) if degrees else 0.0
    return name, Spread(deviation, freedom, between, len(sweep.bases()), correlated)


def power_lines(sweep: Sweep, effects: Sequence[float] = ()) -> list[str]:
    """What to print: the pilot's spread, and for each effect the runs that show it with 80% power."""
    name, found = spread_of(sweep)
    alpha = sweep.settings.alpha
    lines = [
        f"{name}{sweep.where()}: standard deviation of a run over seeds {found.deviation:.4f} "
        f"({found.freedom} degrees of freedom)"
    ]
    if found.bases > 1:
        lines.append(f"of a difference over {found.bases} bases, seeds' noise taken out: {found.between:.4f}")
    else:
        lines.append("one base: what other bases would add is not known, and the numbers below leave it out")
    if found.correlation:
        lines.append(f"runs of one seed correlate by {found.correlation:.2f} and are paired")
    lines += ["", f"runs an arm for 80% power, two-sided at {alpha:g}, uncorrected", ""]
    chosen = list(effects) or [share * found.deviation for share in (0.5, 0.75, 1.0, 1.5, 2.0)]
    lines.append(f"{'effect':>10}  {'in sd':>6}  {'one base':>10}  {'bases of 2 seeds':>16}  {'bases of 4 seeds':>16}")
    for effect in chosen:
        one = runs_needed(found.deviation, effect, correlation=found.correlation, alpha=alpha)
        noise = found.deviation * math.sqrt(1 - found.correlation)
        several = [bases_needed(noise, effect, seeds=seeds, between=found.between, alpha=alpha) for seeds in (2, 4)]
        sd = effect / found.deviation if found.deviation > 0 else math.inf
        lines.append(f"{effect:>10.4g}  {sd:>6.2f}  {one:>10}  " + "  ".join(f"{count:>16}" for count in several))
    return lines
