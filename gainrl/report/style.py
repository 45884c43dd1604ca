"""Colours and lines: one look per arm over all figures and tables, told apart without colour vision and in print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib import font_manager

INK, MUTED, GRID = "#1b1f24", "#6b7480", "#e6e8eb"
# Okabe and Ito 2008 without black and yellow, then wine and olive of Tol's muted scheme.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#7A7A1F")
_DASHES: tuple[tuple[float, ...], ...] = ((), (4.5, 1.6), (1.2, 1.4), (6, 1.4, 1.2, 1.4), (2.6, 1.0))
_FONTS = ("Source Sans 3", "Source Sans Pro", "Inter", "Helvetica Neue", "Helvetica", "Arial", "Liberation Sans")


@dataclass(frozen=True, slots=True)
class Look:
    """``dashes``: on-off lengths in line widths, empty for a solid line."""

    color: str
    dashes: tuple[float, ...]
    width: float = 1.5

    def line(self) -> dict[str, Any]:
        return {"color": self.color, "linewidth": self.width, "dashes": self.dashes or (None, None)}


def looks(labels: Sequence[str], reference: str) -> dict[str, Look]:
    """Label to look: the reference is black and heavier; the others go through eight colours, then change their dashes.

    Looks follow the alphabet, so an arm keeps its look when the ranking changes.
    """
    others = sorted(label for label in labels if label != reference)
    styles = {
        label: Look(_COLORS[index % len(_COLORS)], _DASHES[index // len(_COLORS) % len(_DASHES)])
        for index, label in enumerate(others)
    }
    return {reference: Look(INK, (), 2.0), **styles}


@contextmanager
def figure_style() -> Iterator[None]:
    known = {font.name for font in font_manager.fontManager.ttflist}
    settings: dict[str, Any] = {
        "font.family": [name for name in _FONTS if name in known] + ["DejaVu Sans"],
        "font.size": 8.5,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.titlepad": 5,
        "axes.labelsize": 8.5,
        "axes.labelcolor": INK,
        "axes.edgecolor": "#9aa2ab",
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "legend.handlelength": 2.4,
        "text.color": INK,
        "svg.fonttype": "path",
        "svg.hashsalt": "gainrl",
        "figure.dpi": 100,
        "pdf.fonttype": 42,
    }
    with plt.rc_context(settings):  # type: ignore[arg-type]  # its keys are literals in matplotlib's stubs
        yield
