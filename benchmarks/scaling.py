"""How a step's time grows with its size, and a refresh's and a draw's with the pool.

    python -m benchmarks.scaling --folder benchmarks

Writes ``scaling.csv`` and ``scaling.png`` into the folder. A slope of 1 on logarithmic axes is linear growth; below 1,
fixed costs still count.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.step import StepSettings, run_steps
from benchmarks.tables import print_table
from gainrl.curricula.gain import GainCurriculum
from gainrl.curricula.pool import PromptPool
from gainrl.types import SignalScores

BASE = StepSettings(prompts=16, prompt_length=50, group_size=8, completion_length=32)
SIZES = {
    "prompts": [8, 16, 32, 64],
    "group_size": [4, 8, 16, 32],
    "completion_length": [16, 32, 64, 128],
    "vocabulary": [320, 2_500, 10_000, 40_000],
}
POOLS = [10_000, 100_000, 1_000_000, 10_000_000]
Row = tuple[str, int, float]


def step_times(sizes: dict[str, list[int]], repeats: int, threads: int) -> list[Row]:
    rows = []
    for name, values in sizes.items():
        for value in values:
            times = run_steps(replace(BASE, **{name: value}), repeats, threads=threads)
            rows.append((name, value, statistics.median(each.wall for each in times)))
    return rows


def pool_times(pools: list[int], repeats: int) -> list[Row]:
    """Seconds of ranking a pool by a signal, and of drawing the prompts of one step from it."""
    rows = []
    for size in pools:
        pool = PromptPool(size=size, prompts_per_step=32, steps_per_epoch=4, total_steps=200, group_size=8)
        signal = SignalScores("random", np.random.default_rng(0).random(size))
        curriculum = GainCurriculum(width=0.133, step_scale=0.067, alpha=2.0, beta=0.5, gamma=0.5)
        curriculum.start(pool, signal, seed=0)
        refreshes, draws = [], []
        for _ in range(repeats):
            start = time.perf_counter()
            curriculum.refresh(signal)
            middle = time.perf_counter()
            for _ in range(4):  # an epoch, whose first draw pays for the others
                curriculum.propose(32)
            refreshes.append(middle - start)
            draws.append((time.perf_counter() - middle) / 4)
        rows += [("refresh", size, statistics.median(refreshes)), ("draw", size, statistics.median(draws))]
    return rows


def slope(rows: list[Row]) -> float:
    """Of the last doubling or so, on logarithmic axes."""
    (_, small, before), (_, large, after) = rows[-2:]
    return float(np.log(after / before) / np.log(large / small))


def draw_plot(rows: list[Row], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    names = list(dict.fromkeys(name for name, _, _ in rows))
    figure, axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
    for name, axis in zip(names, axes.flat, strict=True):
        sizes, seconds = zip(*[(size, took) for each, size, took in rows if each == name], strict=True)
        axis.loglog(sizes, seconds, "o-")
        axis.loglog(sizes, [seconds[-1] * size / sizes[-1] for size in sizes], ":", color="gray", label="linear")
        axis.set_xlabel({"refresh": "problems in the pool", "draw": "problems in the pool"}.get(name, name))
        axis.set_ylabel(f"seconds of a {name}" if name in ("refresh", "draw") else "seconds of a step")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.minorticks_off()
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="two sizes of each kind, without meaning")
    options = parser.parse_args(given)
    sizes = {name: values[:2] for name, values in SIZES.items()} if options.small else SIZES
    pools = [100, 1000] if options.small else POOLS
    rows = step_times(sizes, options.repeats, options.threads) + pool_times(pools, options.repeats)
    options.folder.mkdir(parents=True, exist_ok=True)
    with open(options.folder / "scaling.csv", "w", newline="") as file:
        csv.writer(file).writerows([("what", "size", "seconds"), *rows])
    draw_plot(rows, options.folder / "scaling.png")
    names = list(dict.fromkeys(name for name, _, _ in rows))
    table: list[list[str | float]] = []
    for name in names:
        own = [row for row in rows if row[0] == name]
        said = ", ".join(f"{size:,}: {seconds:.3g} s" for _, size, seconds in own)
        table.append([name, said, f"{slope(own):.2f}"])
    print_table(["what grows", "seconds of a step, a refresh, or a draw", "slope of the last interval"], table)


if __name__ == "__main__":
    main()
