"""Scores a step's completions with the one forward that training uses: under the policy, a reference, or a critic."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gainrl.models.scoring import HiddenObserver, Scored, completion_scores
from gainrl.training.batching import MicroBatchLimits, pack_by_tokens
from gainrl.training.collection import Experience
from gainrl.training.critic import Critic
from gainrl.training.distributed.ranks import Ranks, inside, is_sharded, local_part, passes, reshard
from gainrl.training.distributed.sharding import lower_linear, shard
from gainrl.training.masters import lower
from gainrl.types import Policy


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores rows of an experience under ``policy``, a reference, or the critic's trunk.

    Every pass is the same kind of forward, ``share_prompts`` or not: a ratio of two kinds is not exactly 1.
    """

    policy: Policy
    critic: Critic | None
    temperature: float
    share_prompts: bool
    limits: MicroBatchLimits
    ranks: Ranks

    def scored(
        self,
        policy: Policy,
        experience: Experience,
        rows: Tensor,
        *,
        with_logprobs: bool = True,
        with_entropy: bool = False,
        watch: HiddenObserver | None = None,
        value_head: Critic | None = None,
    ) -> Scored:
        """Scores of the experience's rows from one forward of a policy, with the policy's gradients."""
        score = partial(
            completion_scores,
            policy,
            experience.prompts,
            experience.completion_ids,
            experience.lengths,
            experience.sizes,
            temperature=self.temperature,
            rows=rows,
            with_logprobs=with_logprobs,
            with_entropy=with_entropy,
            value_head=value_head,
            hidden_observer=watch,
            # Shards come and go with the forward of a layer, and shared prompts would have to outlive it.
            share_prompts=self.share_prompts and not is_sharded(policy.model),
        )
        return inside(policy.model, score)

    def logprobs(self, policy: Policy, experience: Experience, rows: Tensor) -> Tensor:
        """Log-probabilities ``[R, T]`` of the experience's rows under a policy, with its gradients."""
        logprobs_RT = self.scored(policy, experience, rows).logprobs
        assert logprobs_RT is not None
        return logprobs_RT

    def values(self, experience: Experience, rows: Tensor) -> Tensor:
        """Values ``[R, T]`` of the states of the experience's rows, with the critic's gradients."""
        assert self.critic is not None
        policy = self.critic.policy_of_trunk(self.policy)
        values_RT = self.scored(policy, experience, rows, with_logprobs=False, value_head=self.critic).values
        assert values_RT is not None
        return values_RT

    def in_parts(self, experience: Experience, rows: Tensor, score: Callable[[Experience, Tensor], Tensor]) -> Tensor:
        """``score`` of ``rows`` as ``[B, T]``, zero in other rows, computed within the limits of a micro-batch.

        Every rank scores the groups of some prompts, and all get the whole.
        """
        full = torch.zeros(experience.completion_ids.shape, device=self.policy.device)
        for part, counts in self.own_parts(experience, rows.cpu()):
            scored = score(experience, part)
            if counts:
                full[part] = scored
        return self.ranks.sum(full)

    def own_parts(self, experience: Experience, rows: Tensor) -> Iterator[tuple[Tensor, bool]]:
        """The micro-batches of the groups in ``rows`` that this rank scores, as `sharding.passes` gives them."""
        mine = rows[experience.owners[rows] % self.ranks.size == self.ranks.rank]
        return passes(self.micro_batches(experience, mine), self.ranks, self.policy.model)

    def micro_batches(self, experience: Experience, rows: Tensor) -> list[Tensor]:
        """Splits ``rows`` within the limits; groups stay together, so that their members share the prompt's forward."""
        if not len(rows):
            return []
        prompt_lengths = torch.tensor([len(prompt) for prompt in experience.prompts])
        packs = pack_by_tokens(
            experience.lengths.cpu()[rows], self.limits.tokens, experience.owners[rows], prompt_lengths
        )
        return [part for pack in packs for part in rows[pack].split(self.limits.completions or len(pack))]


class Reference:
    """The policy as it was at the start, or, for a model with LoRA adapters, the model with its adapters off.

    It is no `torch.nn.Module`, so that neither checkpoints nor optimizers see it. ``policy`` is the one that learns.
    The copy is made at once, or, if ``deferred``, by `keep` or in `put_in_shards`: call one of them before the weights
    change. ``mixing`` in `sync` moves the copy towards the policy: ``reference = (1 - mixing) * reference + mixing *
    policy``.
    """

    def __init__(self, policy: Policy, *, deferred: bool = False) -> None:
        self._policy = policy
        self._adapters = hasattr(policy.model, "disable_adapter")
        self._model: Any = None
        if not deferred:
            self.keep()

    def keep(self, lower_to: torch.dtype | None = None, *, pure: bool = False) -> None:
        """Copies the policy as it is now, once.

        ``lower_to``: the precision of its linear layers, as of `sharding.lower_linear`, or of all weights if ``pure``.
        """
        if self._adapters:
            return
        if self._model is None:
            self._model = copy.deepcopy(self._policy.model).eval().requires_grad_(False)
        if lower_to is not None:
            (lower if pure else lower_linear)(self._model, lower_to)

    def put_in_shards(self, model: nn.Module, mesh: Any, mixed: torch.dtype | None, *, pure: bool = False) -> None:
        """Keeps a share of the copy on every rank; ``model``: the policy as it is now, where no copy was made."""
        if not self._adapters:
            self._model = shard(self._model or model, mesh, mixed=mixed, pure=pure, trains=False).eval()

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

    def state_dict(self) -> dict[str, Tensor]:
        """The weights of the copy, in shards where it is."""
        return {} if self._adapters else self._model.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Before `put_in_shards`."""
        if not self._adapters:
            self.keep()
            self._model.load_state_dict(state)
