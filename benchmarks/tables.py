"""Tables that read on a terminal and in Markdown, headed by the machine that they were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch

GOAL = "goal: "


def print_goal(what: str, wanted: float, reached: float, unit: str, *, at_most: bool = False) -> None:
    """One line on a figure that was aimed at; `benchmarks.__main__` gathers them."""
    met = reached <= wanted if at_most else reached >= wanted
    bound = "at most" if at_most else "at least"
    print(f"{GOAL}{what}: {bound} {wanted:g} {unit}, {reached:.4g} measured, {'met' if met else 'missed'}", flush=True)


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def print_table(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    print(f"{processor()}, {threads}, torch {torch.__version__}, load {load}\n")
    cells = [list(header)] + [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for index, row in enumerate(cells):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if index == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(flush=True)
