"""Layer-wise angles: cosines between all pairs of tokens of one prompt, at several depths.

The paper's claim: tokens cluster with depth, first within a segment (system text, worked example, question), later
across segments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from gainrl.report.style import INK, MUTED, figure_style
from gainrl.signals.activations import Activation, Tap, decoder_and_blocks, evaluating, tapped
from gainrl.types import Policy, PromptTokens

_PAIRS = {
    "question with itself": ("question", "question", "#0072B2"),
    "question with prefix": ("question", "prefix", "#D55E00"),
    "prefix with itself": ("prefix", "prefix", "#7a8490"),
}


def depth_taps(model: Any, activation: Activation, depths: int) -> list[Tap]:
    """``depths`` blocks from the first to the last (all of a shallower model), and the final norm."""
    blocks = len(decoder_and_blocks(model)[1])
    layers = np.unique(np.linspace(0, blocks - 1, min(max(depths, 1), blocks)).round().astype(int))
    return [*(Tap(activation, int(layer)) for layer in layers), Tap("final_norm", -1)]


@torch.no_grad()
def cosine_maps(policy: Policy, prompt: PromptTokens, taps: list[Tap]) -> np.ndarray:
    """``[len(taps), T, T]`` cosines between the states of all pairs of tokens of a prompt."""
    decoder = decoder_and_blocks(policy.model)[0]
    ids = torch.tensor([prompt.ids], device=policy.device)
    with evaluating(policy.model), tapped(policy.model, taps) as states:
        decoder(input_ids=ids, use_cache=False)
    unit = [torch.nn.functional.normalize(states[tap][0].float(), dim=-1) for tap in taps]
    return np.stack([(x @ x.T).cpu().numpy() for x in unit])


def block_means(maps: np.ndarray, prompt: PromptTokens) -> dict[str, np.ndarray]:
    """``[len(maps)]`` mean cosine of each pair of segments; a token's cosine with itself counts, as in C_intra."""
    start, end = prompt.question
    spans = {"question": slice(start, end), "prefix": slice(0, start)}
    return {
        name: maps[:, spans[one], spans[other]].mean(axis=(1, 2))
        for name, (one, other, _) in _PAIRS.items()
        if start or "prefix" not in (one, other)
    }


def maps_table(maps: dict[str, np.ndarray], taps: list[Tap]) -> pd.DataFrame:
    """One row per stage, layer and pair of tokens ``i <= j``."""
    parts = []
    for stage, values in maps.items():
        i, j = np.triu_indices(values.shape[1])
        for tap, matrix in zip(taps, values, strict=True):
            cosine = matrix[i, j].round(4)
            parts.append(pd.DataFrame({"stage": stage, "layer": tap_label(tap), "i": i, "j": j, "cosine": cosine}))
    return pd.concat(parts, ignore_index=True)


def tokens_table(prompt: PromptTokens, tokenizer: Any) -> pd.DataFrame:
    """Position, text and segment of each token of the prompt."""
    segments = np.full(len(prompt), "", dtype=object)
    for name, (start, end) in prompt.segments.items():
        segments[start:end] = name
    texts = [tokenizer.decode([token]) for token in prompt.ids]
    return pd.DataFrame({"position": range(len(prompt)), "token": texts, "segment": segments})


def tap_label(tap: Tap) -> str:
    return "final norm" if tap.activation == "final_norm" else f"block {int(tap.layer) + 1}"


def draw_maps(path: Path, maps: dict[str, np.ndarray], taps: list[Tap], prompt: PromptTokens, *, title: str) -> None:
    """One row per stage: a map per depth with the segments marked, and the means of its blocks against depth."""
    lowest = min(0.0, float(np.floor(min(values.min() for values in maps.values()) * 10) / 10))
    with figure_style():
        columns, rows = len(taps) + 1, len(maps)
        figure, axes = plt.subplots(
            rows,
            columns,
            figsize=(1.9 * columns + 1.3, 1.95 * rows + 1.35),
            squeeze=False,
            layout="constrained",
            width_ratios=[1.0] * len(taps) + [1.25],
        )
        image = None
        for row, (stage, values) in enumerate(maps.items()):
            last = row == rows - 1
            for column, tap in enumerate(taps):
                axis = axes[row, column]
                image = axis.imshow(values[column], vmin=lowest, vmax=1.0, cmap="magma", interpolation="nearest")
                _mark_segments(axis, prompt, rows=column == 0, columns=last)
                if row == 0:
                    axis.set_title(tap_label(tap))
            axes[row, 0].set_ylabel(stage, color=INK)
            _draw_means(axes[row, -1], block_means(values, prompt), taps, lowest, labels=last)
        axes[0, -1].set_title("mean by segments")
        assert image is not None
        bar = figure.colorbar(image, ax=axes[-1, :-1].tolist(), location="bottom", shrink=0.5, aspect=40, pad=0.04)
        bar.set_label("cosine of two tokens")
        bar.outline.set_linewidth(0.5)
        figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="lower right", fontsize=7.5, labelcolor=MUTED)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        figure.savefig(path, dpi=160)
        plt.close(figure)


def _mark_segments(axis: Any, prompt: PromptTokens, *, rows: bool, columns: bool) -> None:
    size = len(prompt)
    for start, end in prompt.segments.values():
        for edge in (start, end):
            if 0 < edge < size:
                axis.axhline(edge - 0.5, color="white", linewidth=0.6)
                axis.axvline(edge - 0.5, color="white", linewidth=0.6)
    named = {name: span for name, span in prompt.segments.items() if span[1] - span[0] > 0.07 * size}
    middles = [(start + end - 1) / 2 for start, end in named.values()]
    axis.set_xticks(
        middles if columns else [], list(named) if columns else [], rotation=35, ha="right", rotation_mode="anchor"
    )
    axis.set_yticks(middles if rows else [], list(named) if rows else [])
    axis.tick_params(length=0)
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _draw_means(axis: Any, means: dict[str, np.ndarray], taps: list[Tap], lowest: float, *, labels: bool) -> None:
    places = np.arange(len(taps))
    for name, values in means.items():
        axis.plot(places, values, marker="o", markersize=3.5, linewidth=1.6, color=_PAIRS[name][2], label=name)
    axis.set_xticks(places, [tap_label(tap) if labels else "" for tap in taps], rotation=35, ha="right")
    axis.set_ylim(lowest, 1.0)
    axis.set_box_aspect(0.8)
    axis.yaxis.tick_right()
    axis.spines["left"].set_visible(False)
