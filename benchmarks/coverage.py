"""What the report's intervals cover, and how often its tests err, by simulation: python -m benchmarks.coverage

Prints the tables of docs/analysis.md. Scores are in standard deviations of a run over seeds. Four kinds of arms:
``normal``; ``skewed``, an exponential tail to the left; ``tied``, scores on a grid of a standard deviation;
``collapsing``, where one run in ten of the arm, and none of the reference, ends six deviations lower. Means are shifted
so that the true difference is what a row says. ``spread`` is the standard deviation over bases of the true difference.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import numpy as np

from gainrl.functional.budgets import budget_ratio
from gainrl.functional.contrasts import Estimate, contrast
from gainrl.functional.statistics import holm
from gainrl.functional.streams import generator

KINDS = ("normal", "skewed", "tied", "collapsing")
ONE_BASE = (3, 5, 8, 10, 16)
SEVERAL = ((3, 4), (4, 2), (4, 4), (8, 2), (3, 16))
SPREAD = 0.5
ARMS = 13
LESS = (1.0, -1.0)


def draw(
    rng: np.random.Generator, kind: str, bases: int, seeds: int, *, mean: float, spread: float, arm: bool
) -> np.ndarray:
    """Scores ``[bases, seeds]`` of an arm, or of a reference, with this true mean over bases."""
    noise = rng.normal(0, 1, (bases, seeds))
    if kind == "skewed":
        noise = 1 - rng.exponential(1, (bases, seeds))
    elif kind == "tied":
        noise = np.round(noise)
    elif kind == "collapsing" and arm:
        noise = noise - 6.0 * (rng.random((bases, seeds)) < 0.1) + 0.6
    return mean + noise + (rng.normal(0, spread, (bases, 1)) if arm else 0.0)


def estimates(
    kind: str, bases: int, seeds: int, *, effect: float = 0.0, spread: float = 0.0, trials: int, name: str = ""
) -> Iterator[tuple[Estimate, np.ndarray, np.ndarray]]:
    """One estimate per simulated comparison, with the scores of the arm and of its reference."""
    for trial in range(trials):
        rng = generator(trial, f"coverage/{name}/{kind}", bases, seeds)
        ours = draw(rng, kind, bases, seeds, mean=effect, spread=spread, arm=True)
        theirs = draw(rng, kind, bases, seeds, mean=0.0, spread=0.0, arm=False)
        yield contrast([list(ours), list(theirs)], LESS), ours, theirs


def coverage(kind: str, bases: int, seeds: int, *, spread: float = 0.0, trials: int) -> float:
    """Share of 95% intervals that hold the true difference, 0."""
    hits = 0
    for estimate, _, _ in estimates(kind, bases, seeds, spread=spread, trials=trials):
        interval = estimate.interval(0.95)
        hits += interval.low <= 0 <= interval.high
    return hits / trials


def error_rates(
    kind: str, bases: int, seeds: int, *, spread: float = 0.0, trials: int
) -> tuple[float, float, float, float]:
    """False "better or worse" of one arm without an effect, and of any of `ARMS`; false "not better" at the margin."""
    one = some = below = any_below = 0
    for trial in range(trials):
        rng = generator(trial, f"errors/{kind}", bases, seeds)
        reference = list(draw(rng, kind, bases, seeds, mean=0.0, spread=0.0, arm=False))
        p_null, p_margin = [], []
        for _ in range(ARMS):
            arm = draw(rng, kind, bases, seeds, mean=0.0, spread=spread, arm=True)
            null = contrast([list(arm), reference], LESS)
            p_null.append(null.p_value())
            # The same runs with the effect of the margin, less the margin: what is tested is this difference again.
            p_margin.append(min(1.0, 2 * (1 - null.p_above())) if math.isfinite(null.error) else 1.0)
        one += p_null[0] <= 0.05
        some += holm(p_null).min() <= 0.05
        below += p_margin[0] <= 0.05
        any_below += holm(p_margin).min() <= 0.05
    return one / trials, some / trials, below / trials, any_below / trials


def power(kind: str, bases: int, seeds: int, effect: float, *, spread: float = 0.0, trials: int) -> float:
    """Share of comparisons with a true effect that are found better, uncorrected."""
    found = estimates(kind, bases, seeds, effect=effect, spread=spread, trials=trials, name="power")
    return sum(estimate.value > 0 and estimate.p_value() <= 0.05 for estimate, _, _ in found) / trials


def percentile_coverage(bases: int, seeds: int, *, spread: float, trials: int, draws: int = 300) -> float:
    """What a percentile bootstrap over bases, and seeds within them, would cover: the interval that is not used."""
    hits = 0
    for trial, (_, ours, theirs) in enumerate(estimates("normal", bases, seeds, spread=spread, trials=trials)):
        rng = generator(trial, "coverage/percentile", bases, seeds)
        chosen = rng.integers(0, bases, (draws, bases, 1))
        drawn = [side[chosen, rng.integers(0, seeds, (draws, bases, seeds))].mean((1, 2)) for side in (ours, theirs)]
        low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
        hits += low <= 0 <= high
    return hits / trials


def ratio_coverage(runs: int, *, trials: int, draws: int = 300) -> float:
    """Coverage of the bootstrap interval of a ratio of median budgets, lognormal with a true ratio of .8."""
    hits = 0
    for trial in range(trials):
        rng = generator(trial, "coverage/ratio", runs)
        spent = [scale * np.exp(rng.normal(0, 0.3, runs)) for scale in (0.8, 1.0)]
        sides = [[np.column_stack([side, np.ones(runs)])] for side in spent]
        interval = budget_ratio(sides[0], sides[1], draws=draws, seed=trial)
        hits += interval.low <= 0.8 <= interval.high
    return hits / trials


def tables(trials: int) -> str:
    """All tables, as Markdown."""
    shapes = [(1, seeds, 0.0) for seeds in ONE_BASE]
    shapes += [(bases, seeds, spread) for bases, seeds in SEVERAL for spread in (0.0, SPREAD)]
    lines = ["Coverage of 95% intervals of a difference:", ""]
    lines += ["| bases x seeds, spread | normal | skewed | tied | collapsing | percentile bootstrap, normal |"]
    lines += ["|---|---|---|---|---|---|"]
    for bases, seeds, spread in shapes:
        cells = [coverage(kind, bases, seeds, spread=spread, trials=trials) for kind in KINDS]
        cells.append(percentile_coverage(bases, seeds, spread=spread, trials=max(trials // 2, 1)))
        lines.append(f"| {_shape(bases, seeds, spread)} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    lines += [
        "",
        f"False conclusions in % of reports (nominal: 5, 5, 2.5, 2.5), with {ARMS} arms where there are several:",
        "",
    ]
    lines += ["| bases x seeds, spread | arms | different, one arm | any | not better at the margin, one arm | any |"]
    lines += ["|---|---|---|---|---|---|"]
    for bases, seeds, spread in ((1, 5, 0.0), (1, 10, 0.0), (1, 16, 0.0), (4, 4, 0.0), (4, 4, SPREAD)):
        for kind in KINDS:
            rates = error_rates(kind, bases, seeds, spread=spread, trials=max(trials // 4, 1))
            cells = [f"{100 * rate:.1f}" for rate in rates]
            lines.append(f"| {_shape(bases, seeds, spread)} | {kind} | " + " | ".join(cells) + " |")
    lines += ["", "Power to find an arm better, one comparison, in %:", ""]
    lines += ["| bases x seeds, spread | effect .5 | 1 | 1.5 | 2 | 1, collapsing |", "|---|---|---|---|---|---|"]
    for bases, seeds, spread in shapes:
        cells = [
            power("normal", bases, seeds, effect, spread=spread, trials=trials // 2) for effect in (0.5, 1, 1.5, 2)
        ]
        cells.append(power("collapsing", bases, seeds, 1.0, spread=spread, trials=trials // 2))
        lines.append(f"| {_shape(bases, seeds, spread)} | " + " | ".join(f"{100 * cell:.0f}" for cell in cells) + " |")
    lines += ["", "Coverage of the bootstrap interval of a ratio of median budgets, one base:", ""]
    lines += ["| runs an arm | " + " | ".join(map(str, ONE_BASE)) + " |", "|---|" + "---|" * len(ONE_BASE)]
    ratios = [ratio_coverage(runs, trials=max(trials // 4, 1)) for runs in ONE_BASE]
    lines += ["| coverage | " + " | ".join(f"{cell:.3f}" for cell in ratios) + " |", ""]
    return "\n".join(lines)


def _shape(bases: int, seeds: int, spread: float) -> str:
    return f"{bases} x {seeds}" + (f", {spread:g}" if bases > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.coverage", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--trials", type=int, default=4000, help="simulated comparisons per cell (default: %(default)s)"
    )
    print(tables(parser.parse_args().trials))


if __name__ == "__main__":
    main()
