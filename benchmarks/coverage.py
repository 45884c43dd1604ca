"""What the report's intervals cover, and how often its tests err, by simulation: python -m benchmarks.coverage

Prints the tables of docs/analysis.md. Scores are in standard deviations of a run over seeds. Four kinds of arms:
``normal``; ``skewed``, an exponential tail to the left; ``tied``, scores on a grid of a standard deviation;
``collapsing``, where one run in ten of the arm, and none of the reference, ends six deviations lower. Means are shifted
so that the true difference is what a row says. ``spread`` is the standard deviation over bases of the true difference.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from scipy import stats

from gainrl.functional.budgets import budget_ratio
from gainrl.functional.contrasts import Over
from gainrl.functional.streams import generator

KINDS = ("normal", "skewed", "tied", "collapsing")
ONE_BASE = (3, 5, 8, 10, 16)
SEVERAL = ((3, 4), (4, 2), (4, 4), (8, 2), (3, 16))
SPREAD = 0.5
ARMS = 13


def draw(kind: str, shape: tuple[int, ...], *, spread: float, arm: bool, name: str) -> np.ndarray:
    """Scores ``[trials, ..., bases, seeds]`` of an arm, or of a reference, whose true mean is 0."""
    rng = generator(0, f"coverage/{name}/{kind}/{'arm' if arm else 'reference'}", *shape)
    noise = 1 - rng.exponential(1, shape) if kind == "skewed" else rng.normal(0, 1, shape)
    if kind == "tied":
        noise = np.round(noise)
    elif kind == "collapsing" and arm:
        noise = noise - 6.0 * (rng.random(shape) < 0.1) + 0.6
    return noise + (rng.normal(0, spread, (*shape[:-1], 1)) if arm else 0.0)


def estimates(ours: np.ndarray, theirs: np.ndarray, over: Over = "bases") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, error and degrees of freedom of many differences at once, as `contrast` gives them one by one (a test)."""
    bases, seeds = ours.shape[-2:]
    each = ours.mean(-1) - theirs.mean(-1)
    if bases > 1 and over == "bases":
        return each.mean(-1), each.std(-1, ddof=1) / math.sqrt(bases), np.full(each.shape[:-1], bases - 1.0)
    parts = [side.var(-1, ddof=1).mean(-1) / seeds / bases for side in (ours, theirs)]
    variance = parts[0] + parts[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = variance**2 * bases * (seeds - 1) / (parts[0] ** 2 + parts[1] ** 2)
    error = np.where(variance > 0, np.sqrt(variance), np.inf)
    return each.mean(-1), error, np.where(variance > 0, freedom, 1.0)


def coverage(kind: str, bases: int, seeds: int, *, spread: float = 0.0, over: Over = "bases", trials: int) -> float:
    """Share of 95% intervals that hold the true difference, 0."""
    shape = (trials, bases, seeds)
    arm = draw(kind, shape, spread=spread, arm=True, name="cover")
    value, error, freedom = estimates(arm, draw(kind, shape, spread=0.0, arm=False, name="cover"), over)
    return float((np.abs(value) <= stats.t.ppf(0.975, freedom) * error).mean())


def error_rates(
    kind: str, bases: int, seeds: int, *, spread: float = 0.0, trials: int
) -> tuple[float, float, float, float]:
    """False "better or worse" of one arm without an effect, and of any of `ARMS`; false "not better" at the margin.

    An arm with the effect of the margin, less the margin, is an arm without an effect: the same runs serve both.
    """
    arms = draw(kind, (trials, ARMS, bases, seeds), spread=spread, arm=True, name="errors")
    reference = draw(kind, (trials, 1, bases, seeds), spread=0.0, arm=False, name="errors")
    value, error, freedom = estimates(arms, np.broadcast_to(reference, arms.shape))
    null = 2 * stats.t.sf(np.abs(value) / error, freedom)
    margin = np.minimum(1.0, 2 * stats.t.cdf(value / error, freedom))
    rates = []
    for p_values in (null, margin):
        rates += [
            (p_values[:, 0] <= 0.05).mean(),
            (p_values.min(1) * ARMS <= 0.05).mean(),
        ]  # the smallest p that Holm corrects
    return tuple(map(float, rates))  # type: ignore[return-value]


def power(kind: str, bases: int, seeds: int, effect: float, *, spread: float = 0.0, trials: int) -> float:
    """Share of comparisons with a true effect that are found better, uncorrected."""
    shape = (trials, bases, seeds)
    arm = effect + draw(kind, shape, spread=spread, arm=True, name="power")
    value, error, freedom = estimates(arm, draw(kind, shape, spread=0.0, arm=False, name="power"))
    return float((stats.t.sf(value / error, freedom) <= 0.025).mean())


def percentile_coverage(bases: int, seeds: int, *, spread: float, trials: int, draws: int = 300) -> float:
    """What a percentile bootstrap over bases, and seeds within them, would cover: the interval that is not used."""
    shape = (trials, bases, seeds)
    sides = [draw("normal", shape, spread=spread * arm, arm=arm, name="percentile") for arm in (True, False)]
    hits = 0
    for trial, (ours, theirs) in enumerate(zip(*sides, strict=True)):
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
    lines += ["| bases x seeds, spread | normal | skewed | tied | collapsing | over seeds | percentile bootstrap |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for bases, seeds, spread in shapes:
        cells = [coverage(kind, bases, seeds, spread=spread, trials=trials) for kind in KINDS]
        cells.append(coverage("normal", bases, seeds, spread=spread, over="seeds", trials=trials))
        cells.append(percentile_coverage(bases, seeds, spread=spread, trials=max(trials // 20, 1)))
        lines.append(f"| {_shape(bases, seeds, spread)} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    lines += [
        "",
        f"False conclusions in % of reports (nominal: 5, 5, 2.5, 2.5), with {ARMS} arms where there are several:",
        "",
    ]
    lines += ["| bases x seeds, spread | arms | different, one arm | any | not better at the margin, one arm | any |"]
    lines += ["|---|---|---|---|---|---|"]
    for bases, seeds, spread in (*((1, runs, 0.0) for runs in ONE_BASE), (4, 4, 0.0), (4, 4, SPREAD)):
        for kind in KINDS:
            rates = error_rates(kind, bases, seeds, spread=spread, trials=trials)
            cells = [f"{100 * rate:.1f}" for rate in rates]
            lines.append(f"| {_shape(bases, seeds, spread)} | {kind} | " + " | ".join(cells) + " |")
    lines += ["", "Power to find an arm better, one comparison, in %:", ""]
    lines += ["| bases x seeds, spread | effect .5 | 1 | 1.5 | 2 | 1, collapsing |", "|---|---|---|---|---|---|"]
    for bases, seeds, spread in shapes:
        cells = [power("normal", bases, seeds, effect, spread=spread, trials=trials) for effect in (0.5, 1, 1.5, 2)]
        cells.append(power("collapsing", bases, seeds, 1.0, spread=spread, trials=trials))
        lines.append(f"| {_shape(bases, seeds, spread)} | " + " | ".join(f"{100 * cell:.0f}" for cell in cells) + " |")
    lines += ["", "Coverage of the bootstrap interval of a ratio of median budgets, one base:", ""]
    lines += ["| runs an arm | " + " | ".join(map(str, ONE_BASE)) + " |", "|---|" + "---|" * len(ONE_BASE)]
    ratios = [ratio_coverage(runs, trials=max(trials // 20, 1)) for runs in ONE_BASE]
    lines += ["| coverage | " + " | ".join(f"{cell:.3f}" for cell in ratios) + " |", ""]
    return "\n".join(lines)


def _shape(bases: int, seeds: int, spread: float) -> str:
    return f"{bases} x {seeds}" + (f", {spread:g}" if bases > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.coverage", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--trials", type=int, default=6000, help="simulated comparisons per cell (default: %(default)s)"
    )
    print(tables(parser.parse_args().trials))


if __name__ == "__main__":
    main()
