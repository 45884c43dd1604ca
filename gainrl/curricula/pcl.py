"""PCL: the candidates whose pass rate, as a head on the policy's hidden state predicts it, is nearest to a target.

From ``factor * n`` random candidates a step takes the ``n`` with the smallest ``|V(x) - target|`` (arXiv 2510.01135).
``V`` regresses the pass rate of the groups that training rolls out anyway, so that selecting costs a prefill and no
rollout.

Our choices where the rule is known at second hand: the head is a ridge regression on the mean direction of the
question's states, fitted anew to the groups of the last ``window`` steps (`curricula.head`); the paper trains a value
model beside the policy. With ``live=false`` the states are those of the model before training, measured once: the cost
of the angle's prefill.
"""

from __future__ import annotations

import numpy as np

from gainrl.curricula.head import HeadCurriculum
from gainrl.curricula.pickers import best
from gainrl.curricula.requirements import between


class PCLCurriculum(HeadCurriculum):
    """Trains on prompts whose predicted pass rate is nearest to ``target``.

    The rest as of `HeadCurriculum`. Raises ValueError for values out of range.
    """

    name = "pcl"

    def __init__(
        self,
        *,
        target: float = 0.5,
        factor: float | None = 4.0,
        window: int = 16,
        ridge: float = 0.1,
        live: bool = True,
        layer: int | float = -1,
        activation: str = "mlp_input",
    ) -> None:
        between("target", target, 0, 1)
        super().__init__(factor=factor, window=window, ridge=ridge, live=live, layer=layer, activation=activation)
        self.target = target

    def pick(self, rows: np.ndarray, predicted: np.ndarray, n: int, stream: np.random.Generator) -> np.ndarray:
        return best(rows, -np.abs(predicted - self.target), n)
