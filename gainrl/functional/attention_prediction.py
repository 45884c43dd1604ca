"""Outcomes of new examples as an attention-weighted mean over reference examples whose outcomes are known."""

from __future__ import annotations

import numpy as np

SHARPNESS = (1.0, 3.0, 10.0, 30.0, 100.0)


def attention_predictions(
    references_KD: np.ndarray, outcomes_K: np.ndarray, new_RD: np.ndarray, sharpness: float | None = None
) -> np.ndarray:
    """``[R]`` predictions ``sum_k softmax_k(sharpness * cos(x, x_k)) y_k`` (arXiv 2506.05316), features centred.

    ``sharpness=None`` takes the one of `SHARPNESS` that predicts each reference best from the others (smallest squared
    error; ties: the smallest). With a single reference its outcome is the prediction.

    Raises ValueError without references.
    """
    if not len(references_KD):
        raise ValueError("a prediction by attention needs reference examples; give one or more")
    references, outcomes = np.asarray(references_KD, np.float64), np.asarray(outcomes_K, np.float64)
    centre = references.mean(0)
    known, new = _directions(references - centre), _directions(np.asarray(new_RD, np.float64) - centre)
    if sharpness is None:
        sharpness = SHARPNESS[0]
        if len(known) > 1:
            alike = known @ known.T
            np.fill_diagonal(alike, -np.inf)  # each reference from the others
            errors = [np.square(_weights(alike, each) @ outcomes - outcomes).mean() for each in SHARPNESS]
            sharpness = SHARPNESS[int(np.argmin(errors))]
    return _weights(new @ known.T, sharpness) @ outcomes


def _directions(features: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1.0)


def _weights(cosines_RK: np.ndarray, sharpness: float) -> np.ndarray:
    scores = sharpness * cosines_RK
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)
