"""Log-probabilities, entropies and values of a step's completions, from the one forward that training uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gainrl.functional.batching import pack_by_tokens
from gainrl.models.scoring import Scored, completion_scores
from gainrl.signals.live import ConcentrationWatch
from gainrl.training.critic import Critic
from gainrl.training.distributed.ranks import Ranks
from gainrl.training.distributed.sharding import inside, is_sharded, passes
from gainrl.training.experience import Experience
from gainrl.types import Policy


@dataclass(slots=True)
class MicroBatchLimits:
    """What goes through the model at once; ``tokens`` shrinks where memory ran out."""

    tokens: int
    completions: int | None = None


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
        watch: ConcentrationWatch | None = None,
        value_head: Critic | None = None,
    ) -> Scored:
        """What one forward of a policy says of the experience's rows, with the policy's gradients."""
        score = partial(
            completion_scores,
            policy,
            experience.prompts,
            experience.completion_ids,
            experience.lengths,
            experience.group_size,
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
        found = self.scored(policy, experience, rows).logprobs
        assert found is not None
        return found

    def values(self, experience: Experience, rows: Tensor) -> Tensor:
        """Values ``[R, T]`` of the states of the experience's rows, with the critic's gradients."""
        assert self.critic is not None
        policy = self.critic.policy_of_trunk(self.policy)
        found = self.scored(policy, experience, rows, with_logprobs=False, value_head=self.critic).values
        assert found is not None
        return found

    def in_parts(self, experience: Experience, rows: Tensor, score: Callable[[Experience, Tensor], Tensor]) -> Tensor:
        """``[B, T]`` of what ``score`` gives for ``rows``, zero for other rows, within the limits of a micro-batch.

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
        mine = rows[(rows // experience.group_size) % self.ranks.size == self.ranks.rank]
        return passes(self.micro_batches(experience, mine), self.ranks, self.policy.model)

    def micro_batches(self, experience: Experience, rows: Tensor) -> list[Tensor]:
        """Splits ``rows`` within the limits; groups stay together, so that their members share the prompt's forward."""
        if not len(rows):
            return []
        prompt_lengths = torch.tensor([len(prompt) for prompt in experience.prompts])
        packs = pack_by_tokens(
            experience.lengths.cpu()[rows], self.limits.tokens, rows // experience.group_size, prompt_lengths
        )
        return [part for pack in packs for part in rows[pack].split(self.limits.completions or len(pack))]
