"""Replay of rollouts: groups of earlier steps join an update, weighed against the policy that sampled them.

A group that had a gradient is kept with the log-probabilities under which it was sampled, as the training forward
computed them. Later steps draw some of the kept groups at random and learn from them beside their own: the importance
ratio of a replayed token compares the current policy with the stored log-probability, and the objective's clip bounds
it (DOTS, arXiv 2506.05316). Advantages are those of the group by itself, as when it was new.

Our choices where the paper leaves them open: the draw is uniform over the kept groups; groups older than ``max_age``
steps are forgotten; replayed groups come on top of the step's own, which curricula, admission and metrics of rollouts
see alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gainrl.functional.streams import generator
from gainrl.training.algorithm import ReplaySettings
from gainrl.training.collection import Experience
from gainrl.types import FinishReason, GroupOutcome, PromptBatch, PromptTokens, Rollout

_ARRAYS = ("rewards", "correct", "lengths", "truncated", "valid")


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """One prompt with its ``G`` completions, in memory of the host; ``ids`` and the log-probabilities: ``[G, T]``.

    ``logprobs``: under the policy that sampled, by the training forward; ``engine``: the engine's own, None where it
    has none.
    """

    prompt: PromptTokens
    group: GroupOutcome
    ids: Tensor
    logprobs: Tensor
    engine: Tensor | None

    def rollout(self, device: torch.device) -> Rollout:
        reasons = [FinishReason.LENGTH if cut else FinishReason.STOP for cut in self.group.truncated]
        return Rollout(
            prompts=[self.prompt],
            group_size=len(self.ids),
            completion_ids=self.ids.to(device),
            lengths=torch.as_tensor(self.group.lengths, dtype=torch.int64, device=device),
            finish_reasons=reasons,
            sampling_logprobs=None if self.engine is None else self.engine.to(device),
        )


class ReplayBuffer:
    """The groups that may come back; every rank holds the same ones. ``seed``: of the run."""

    def __init__(self, settings: ReplaySettings, prompts_per_step: int, seed: int) -> None:
        self.wanted = settings.prompts_of(prompts_per_step)
        self.capacity, self.max_age, self.seed = settings.capacity, settings.max_age, seed
        self.groups: list[StoredGroup] = []  # oldest first
        self.last: list[StoredGroup] = []  # those of the last update

    def join(self, experience: Experience, kept: Sequence[int], step: int) -> tuple[Experience, list[int]]:
        """The experience with some groups of earlier steps behind its own, and the prompts that train.

        ``step``: rollout steps that are complete.
        """
        self.groups = [one for one in self.groups if step - one.group.step <= self.max_age]
        stream = generator(self.seed, "replay", step)
        places = stream.choice(len(self.groups), min(self.wanted, len(self.groups)), replace=False)
        self.last = [self.groups[place] for place in sorted(places.tolist())]
        if not self.last:
            return experience, list(kept)
        lists = ("pool_rows", "problems", "prompts", "texts", "verdicts", "groups", "sizes")
        copies: dict[str, Any] = {name: list(getattr(experience, name)) for name in lists}
        joined = replace(experience, **copies)
        own, device = len(experience.prompts), experience.completion_ids.device
        for one in self.last:
            batch = PromptBatch(np.array([one.group.row]), [], [one.prompt])
            joined.add(batch, one.rollout(device), [], [], [one.group])
        stored = torch.full(joined.completion_ids.shape, torch.nan)
        for number, one in enumerate(self.last, start=own):
            rows = joined.rows_of(number)
            stored[rows.start : rows.stop, : one.logprobs.shape[1]] = one.logprobs
        joined.replayed, joined.stored_logprobs = len(self.last), stored.to(device)
        return joined, [*kept, *range(own, own + len(self.last))]

    def keep(self, experience: Experience, advantages_B: np.ndarray, logprobs_BT: Tensor | None) -> None:
        """Takes in the step's own groups that had a gradient; the oldest of all make room.

        ``logprobs_BT``: of the sampling policy, None where the step had no update.
        """
        if logprobs_BT is None:
            return
        logprobs_BT = logprobs_BT.float().cpu()
        for number in range(len(experience.prompts) - experience.replayed):
            rows = slice(experience.rows_of(number).start, experience.rows_of(number).stop)
            group = experience.groups[number]
            width = int(group.lengths.max(initial=0))
            logprobs = logprobs_BT[rows, :width].clone()
            if not advantages_B[rows].any() or not bool(torch.isfinite(logprobs).all()):
                continue
            engine = experience.engine_logprobs
            self.groups.append(
                StoredGroup(
                    prompt=experience.prompts[number],
                    group=group,
                    ids=experience.completion_ids[rows, :width].cpu().clone(),
                    logprobs=logprobs,
                    engine=None if engine is None else engine[rows, :width].cpu().clone(),
                )
            )
        self.groups = self.groups[-self.capacity :]

    def metrics(self, step: int) -> dict[str, float]:
        """``replay/groups``: in the last update; ``replay/age``: their mean age in steps; ``replay/kept``: held now."""
        ages = [step - one.group.step for one in self.last]
        return {
            "replay/groups": float(len(ages)),
            "replay/age": float(np.mean(ages)) if ages else 0.0,
            "replay/kept": float(len(self.groups)),
        }

    def state_dict(self) -> list[dict[str, Any]]:
        return [
            {
                "ids": list(one.prompt.ids),
                "segments": {name: list(span) for name, span in one.prompt.segments.items()},
                "row": one.group.row,
                "step": one.group.step,
                **{name: torch.from_numpy(np.array(getattr(one.group, name))) for name in _ARRAYS},
                "completions": one.ids,
                "logprobs": one.logprobs,
                "engine": one.engine,
            }
            for one in self.groups
        ]

    def load_state_dict(self, state: Sequence[Mapping[str, Any]]) -> None:
        self.last = []
        self.groups = [
            StoredGroup(
                prompt=PromptTokens(
                    tuple(held["ids"]), {name: (span[0], span[1]) for name, span in held["segments"].items()}
                ),
                group=GroupOutcome(
                    row=int(held["row"]),
                    step=int(held["step"]),
                    **{name: held[name].numpy() for name in _ARRAYS},
                ),
                ids=held["completions"],
                logprobs=held["logprobs"],
                engine=held["engine"],
            )
            for held in state
        ]
