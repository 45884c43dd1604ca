"""How far the centre of GAIN-RL's Gaussian moves after an epoch: the paper's rule, the two releases, and ablations.

With accuracy ``a`` in [0, 1], concentration ``C`` and a step ``s`` in ranks::

    paper          s tanh(alpha (a - beta))   + s tanh(gamma C)
    released_trl   max(0, s tanh(alpha (a - beta))   + s tanh(alpha C))     reward 2 per correct answer, halved
    released_verl  max(0, s tanh(alpha (a/2 - beta)) + s tanh(alpha C))     reward 1 per correct answer, halved
    accuracy_only  s tanh(alpha (a - beta))
    angle_only     s tanh(gamma C)
    none           0

Sources. ``released_*``: the code released with arXiv 2506.02281 (alpha = 2, beta = 0.5, s = 500, the sum clipped to
[0, 1000], whose upper end cannot be reached). ``paper``: the overview figure of arXiv 2506.02281 shows one term of the
accuracy and one of the angle; their form and the constants (alpha = 2, beta = 0.5, gamma = 0.5, s = n / 2 with n = 1024
prompts per epoch) are known only at second hand, from a survey note. The last three are ablations of ours.
"""

from __future__ import annotations

from math import tanh
from typing import Literal, NamedTuple, get_args

CenterUpdate = Literal["paper", "released_trl", "released_verl", "accuracy_only", "angle_only", "none"]
CENTER_UPDATES: tuple[CenterUpdate, ...] = get_args(CenterUpdate)
USES_ACCURACY = frozenset({"paper", "released_trl", "released_verl", "accuracy_only"})
USES_CONCENTRATION = frozenset({"paper", "released_trl", "released_verl", "angle_only"})


class CenterMove(NamedTuple):
    """The two terms of a move and their sum after clipping, all in the unit of ``step``."""

    accuracy: float
    angle: float
    total: float


def center_move(
    update: CenterUpdate,
    accuracy: float,
    concentration: float,
    *,
    step: float,
    alpha: float,
    beta: float,
    gamma: float,
) -> CenterMove:
    """The move of the centre after an epoch with this mean 0/1 accuracy and mean concentration.

    Terms that ``update`` does not use are 0, whatever their input. Raises ValueError for an unknown ``update``.
    """
    if update not in CENTER_UPDATES:
        raise ValueError(f"update={update!r} is no rule for the centre: type one of {', '.join(CENTER_UPDATES)}")
    released = update in ("released_trl", "released_verl")
    accuracy_term = angle_term = 0.0
    if update in USES_ACCURACY:
        accuracy_term = step * tanh(alpha * ((accuracy / 2 if update == "released_verl" else accuracy) - beta))
    if update in USES_CONCENTRATION:
        angle_term = step * tanh((alpha if released else gamma) * concentration)
    total = accuracy_term + angle_term
    return CenterMove(accuracy_term, angle_term, max(0.0, total) if released else total)
