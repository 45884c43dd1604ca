"""Goldilocks: the candidates that a head on the policy's hidden state expects to teach most (arXiv 2602.14868).

The head regresses ``sqrt(p (1 - p))``, the deviation of a verdict, of the groups that training rolls out anyway. Each
slot of a step goes, with probability ``epsilon``, to a random candidate and otherwise to the one with the highest
prediction that is left.

The rule is known at second hand. Our choices: ``epsilon``, the number of candidates, and the head, which is that of
`curricula.head`.
"""

from __future__ import annotations

import math

import numpy as np

from gainrl.curricula.head import HeadCurriculum
from gainrl.curricula.pickers import best
from gainrl.curricula.requirements import between


class GoldilocksCurriculum(HeadCurriculum):
    """Trains on prompts with the highest predicted ``sqrt(p (1 - p))``, and on some random ones.

    ``epsilon``: the chance of a slot to be filled at random. The rest as of `HeadCurriculum`. Raises ValueError for
    values out of range.
    """

    name = "goldilocks"

    def __init__(
        self,
        *,
        epsilon: float = 0.1,
        factor: float | None = 4.0,
        window: int = 16,
        ridge: float = 0.1,
        live: bool = True,
        layer: int | float = -1,
        activation: str = "mlp_input",
    ) -> None:
        between("epsilon", epsilon, 0, 1)
        super().__init__(factor=factor, window=window, ridge=ridge, live=live, layer=layer, activation=activation)
        self.epsilon = epsilon

    def pick(self, rows: np.ndarray, predicted: np.ndarray, n: int, stream: np.random.Generator) -> np.ndarray:
        explored = int(stream.binomial(n, self.epsilon))
        chosen = best(rows, predicted, n - explored)
        others = rows[~np.isin(rows, chosen)]  # in random order, as the candidates are
        return stream.permutation(np.concatenate([chosen, others[:explored]]))

    def worth(self, rate: float) -> float:
        return math.sqrt(rate * (1 - rate))
