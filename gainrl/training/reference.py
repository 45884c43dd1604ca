"""The frozen reference policy of the KL penalty."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gainrl.training.distributed.sharding import is_sharded, local_part, lower_linear, reshard, shard, whole
from gainrl.types import Policy


class Reference:
    """The policy as it was at the start, or, for a model with LoRA adapters, the model with its adapters off.

    It is no `torch.nn.Module`, so that neither checkpoints nor optimizers see it. ``policy`` is what learns. The copy
    is made at once, or, if ``deferred``, by `keep` or in `put_in_shards`: call one of them before the weights change.
    ``mixing`` in `sync` moves the copy towards the policy: ``reference = (1 - mixing) * reference + mixing * policy``.
    """

    def __init__(self, policy: Policy, *, deferred: bool = False) -> None:
        self._policy = policy
        self._adapters = hasattr(policy.model, "disable_adapter")
        self._model: Any = None
        if not deferred:
            self.keep()

    def keep(self, lower_to: torch.dtype | None = None) -> None:
        """Copies the policy as it is now, once. ``lower_to``: as of `sharding.lower_linear`."""
        if self._adapters:
            return
        if self._model is None:
            self._model = copy.deepcopy(self._policy.model).eval().requires_grad_(False)
        if lower_to is not None:
            lower_linear(self._model, lower_to)

    def put_in_shards(self, model: nn.Module, mesh: Any, mixed: torch.dtype | None) -> None:
        """Keeps a share of the copy on every rank; ``model``: the policy as it is now, where no copy was made."""
        if not self._adapters:
            self._model = shard(self._model or model, mesh, mixed=mixed, trains=False).eval()

    @contextmanager
    def active(self) -> Iterator[Policy]:
        """The reference as a policy, inside this context and without gradients."""
        if self._adapters:
            trained = [weight for weight in self._policy.model.parameters() if weight.requires_grad]
            with torch.no_grad(), self._policy.model.disable_adapter():
                for weight in trained:
                    # peft takes them for frozen in here, and shards would remember that from their first forward.
                    weight.requires_grad_(True)
                yield self._policy
            return
        self.keep()
        if not is_sharded(self._model):
            self._model.to(self._policy.device)
        with torch.no_grad():
            yield Policy(self._model, self._policy.tokenizer, self._policy.stop_ids, self._policy.pad_id)
        reshard(self._model)

    @torch.no_grad()
    def sync(self, mixing: float) -> None:
        if self._adapters:
            raise ValueError(
                "algorithm.reference_sync moves a copy of the weights, and a model with LoRA adapters has none; "
                "type algorithm.reference_sync=null"
            )
        if is_sharded(self._model):
            reshard(self._model)
            reshard(self._policy.model)
        for frozen, current in zip(self._model.parameters(), self._policy.model.parameters(), strict=True):
            local = local_part(frozen)
            local.lerp_(local_part(current).detach().to(local), mixing)

    def state_dict(self, *, keep: bool = True) -> dict[str, Tensor]:
        """The weights of the copy; of one in shards whole tensors, which every rank must ask for, where ``keep``."""
        return {} if self._adapters else whole(self._model.state_dict(), keep=keep)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Before `put_in_shards`."""
        if not self._adapters:
            self.keep()
            self._model.load_state_dict(state)
