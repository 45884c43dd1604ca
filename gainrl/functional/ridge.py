"""Ridge regression on few examples of many features, in closed form."""

from __future__ import annotations

import numpy as np


def ridge_predictions(known_WD: np.ndarray, outcomes_W: np.ndarray, new_RD: np.ndarray, strength: float) -> np.ndarray:
    """``[R]`` predictions of a linear fit to ``W`` examples with ``D`` features each.

    With ``x`` centred on the examples' mean and ``y`` on the mean outcome, the weights minimise::

        |X w - y|^2 + strength * s * |w|^2        s: the mean of |x|^2 over the examples

    so that ``strength`` does not depend on the scale of the features or the number of examples. The mean outcome where
    there are fewer than two examples or all have the same features. Solved in ``min(W, D)`` unknowns.

    Raises ValueError for no example, or a strength that is not positive.
    """
    if not len(known_WD) or not strength > 0:
        raise ValueError(f"a ridge fit to {len(known_WD)} examples with strength={strength}: give 1 or more, and > 0")
    known, outcomes = np.asarray(known_WD, np.float64), np.asarray(outcomes_W, np.float64)
    centre, mean = known.mean(0), outcomes.mean()
    features, targets = known - centre, outcomes - mean
    spread = float(np.square(features).sum() / len(features))
    if spread == 0:
        return np.full(len(new_RD), mean)
    penalty = strength * spread
    examples, width = features.shape
    if width <= examples:
        weights = np.linalg.solve(features.T @ features + penalty * np.eye(width), features.T @ targets)
    else:
        weights = features.T @ np.linalg.solve(features @ features.T + penalty * np.eye(examples), targets)
    return mean + (np.asarray(new_RD, np.float64) - centre) @ weights
