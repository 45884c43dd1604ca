"""Muon for the matrices inside a model, AdamW for everything else (Jordan et al., 2024; arXiv 2502.16982).

`torch.optim.Muon` takes matrices only. Embeddings, the head, norms and biases are trained by AdamW, as its authors do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def hidden_matrices(model: nn.Module) -> set[int]:
    """The ids of the weights of a model that are matrices and neither embedding nor head."""
    outer = {id(weight) for part in model.modules() if isinstance(part, nn.Embedding) for weight in part.parameters()}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    outer |= set() if head is None else {id(weight) for weight in head.parameters()}
    return {id(weight) for weight in model.parameters() if weight.ndim == 2} - outer


class MuonWithAdamW(Optimizer):
    """One optimizer to its callers: ``param_groups`` holds the groups of both, ``state_dict`` the states of both.

    ``hidden``: ids of the weights that Muon trains (`hidden_matrices`). ``lr`` is that of both: with
    ``adjust_lr_fn="match_rms_adamw"`` Muon's steps are as large as AdamW's (arXiv 2502.16982, equation 4).
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        hidden: Set[int] = frozenset(),
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.95),
    ) -> None:
        muon: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for one in params:
            group = dict(one) if isinstance(one, dict) else {"params": [one]}
            rest = {name: value for name, value in group.items() if name != "params"}
            for part, chosen in ((muon, True), (others, False)):
                weights = [weight for weight in group["params"] if (id(weight) in hidden) == chosen]
                if weights and part and not rest and set(part[-1]) == {"params"}:
                    part[-1]["params"] += weights
                elif weights:
                    part.append({"params": weights, **rest})
        self._parts: list[Optimizer] = []
        if muon:
            if not hasattr(torch.optim, "Muon"):
                raise ValueError(
                    f"optimizer=muon needs torch.optim.Muon, which torch {torch.__version__} does not have; "
                    "pip install 'torch>=2.9', or type optimizer=adamw"
                )
            self._parts.append(
                torch.optim.Muon(
                    muon, lr=lr, momentum=momentum, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
                )
            )
        if others:
            self._parts.append(torch.optim.AdamW(others, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay))
        super().__init__([group for part in self._parts for group in part.param_groups], {"lr": lr})
        self._share_groups()

    def _share_groups(self) -> None:
        """A schedule that sets a rate in ``param_groups`` sets it in the optimizer that uses it."""
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()
