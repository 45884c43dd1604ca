"""Supervised learning of worked solutions: the settings of the phase, its batches, and its module."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from gainrl.datasets.templates import BoundTemplate
from gainrl.functional.streams import generator
from gainrl.models.scoring import completion_scores
from gainrl.types import Policy, ProblemSet, PromptTokens


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmStart:
    """Settings of the supervised phase.

    It ends after ``steps`` steps, or once solutions have a probability of ``stop_at`` on average over the last ten
    steps: where skills appear suddenly, the same accuracy is reached at another step on another machine.

    A step takes ``sequences`` solutions; level ``k`` is drawn with weight ``level_ratio ** (k - 1)``, and not at all
    beyond ``max_level``. At level ``k`` a share of ``worked_ratio ** (k - 1)`` of them is worked out, the others are a
    bare boxed answer, as in data where long solutions are rare (arXiv 2510.11495): whether to work a problem out is
    left for reinforcement to learn. The learning rate rises over ``warmup_steps`` and then stays.

    ``shipped``: take the result from the package where it has one for this recipe (`warm_start.shipped`).

    Raises ValueError for values out of range.
    """

    steps: int
    sequences: int
    stop_at: float | None = None
    learning_rate: float
    level_ratio: float = 1.0
    max_level: int | None = None
    worked_ratio: float = 1.0
    warmup_steps: int = 20
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    seed: int = 0
    shipped: bool = True

    def __post_init__(self) -> None:
        if self.steps < 0 or self.sequences < 1:
            raise ValueError(
                f"warm_start.steps={self.steps} and warm_start.sequences={self.sequences}: steps must be 0 or more "
                "and sequences 1 or more; for no warm start type model.warm_start=null"
            )
        for name, ratio in (("level_ratio", self.level_ratio), ("worked_ratio", self.worked_ratio)):
            if not 0 < ratio <= 1:
                raise ValueError(f"warm_start.{name}={ratio} must lie in (0, 1]; 1 treats all levels alike")
        if self.max_level is not None and self.max_level < 1:
            raise ValueError(f"warm_start.max_level={self.max_level} must be 1 or more, or null for all levels")
        if self.stop_at is not None and not 0 < self.stop_at < 1:
            raise ValueError(f"warm_start.stop_at={self.stop_at} must lie between 0 and 1, or be null for all steps")
        if self.learning_rate <= 0:
            raise ValueError(f"warm_start.learning_rate={self.learning_rate} must be positive, such as 3e-3")


def train_supervised(
    policy: Policy,
    settings: WarmStart,
    template: BoundTemplate,
    problems: ProblemSet,
) -> None:
    """Trains ``policy.model`` in place on worked solutions; raises ValueError where a problem has none."""
    module = SupervisedModule(policy, settings, template)
    loader = DataLoader(SolutionBatches(policy, settings, template, problems), batch_size=None, num_workers=0)
    trainer = lightning.Trainer(
        max_steps=settings.steps,
        accelerator="cpu" if policy.device.type == "cpu" else "auto",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if settings.steps:
        trainer.fit(module, loader)


@dataclass(frozen=True, slots=True)
class Example:
    """What follows the prefix that all prompts share: the rest of a prompt, and the solution with its stop token."""

    rest: list[int]
    solution: list[int]

    def __len__(self) -> int:
        return len(self.rest) + len(self.solution)


class SolutionBatches(IterableDataset):
    """Batches of examples, drawn by level from the stream of the step."""

    def __init__(self, policy: Policy, settings: WarmStart, template: BoundTemplate, problems: ProblemSet) -> None:
        self.settings = settings
        stop = policy.stop_ids[0]
        rows = list(problems)
        without = sum(problem.solution is None for problem in rows)
        if without:
            raise ValueError(
                f"{without} of {len(rows)} problems of {problems.name} have no worked solution to learn from; "
                "type model.warm_start=null or use a data set with solutions"
            )
        prompts = template.encode_all([problem.question for problem in rows])
        worked = policy.tokenizer([problem.solution for problem in rows], add_special_tokens=False)["input_ids"]
        answers = [f"\\boxed{{{problem.reference_answer}}}" for problem in rows]
        bare = policy.tokenizer(answers, add_special_tokens=False)["input_ids"]
        shared = len(template.prefix_ids)
        rests = [list(prompt.ids[shared:]) for prompt in prompts]
        self.worked = [Example(rest, [*ids, stop]) for rest, ids in zip(rests, worked, strict=True)]
        self.bare = [Example(rest, [*ids, stop]) for rest, ids in zip(rests, bare, strict=True)]
        levels = np.array([problem.level or 1 for problem in rows])
        counts = np.bincount(levels)
        weights = settings.level_ratio ** (levels - 1.0) / counts[levels]
        if settings.max_level is not None:
            weights = np.where(levels <= settings.max_level, weights, 0.0)
        self.weights = weights / weights.sum()
        self.worked_shares = settings.worked_ratio ** (levels - 1.0)

    def __len__(self) -> int:
        return self.settings.steps

    def __iter__(self) -> Iterator[list[Example]]:
        for step in range(self.settings.steps):
            draw = generator(self.settings.seed, "warm_start", step)
            rows = draw.choice(len(self.worked), self.settings.sequences, p=self.weights)
            work_out = draw.random(len(rows)) < self.worked_shares[rows]
            yield [(self.worked if whole else self.bare)[row] for row, whole in zip(rows, work_out, strict=True)]


class SupervisedModule(lightning.LightningModule):
    """Cross-entropy on solution tokens, averaged over the tokens of a step.

    The prefix that all prompts share runs once a step, gradients included. The examples run in a few parts of similar
    length, since padding would otherwise double the cost.
    """

    PARTS = 2

    def __init__(self, policy: Policy, settings: WarmStart, template: BoundTemplate) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.policy = policy
        self.model = policy.model
        self.settings = settings
        self.recent: deque[float] = deque(maxlen=10)
        self.prefix = PromptTokens(template.prefix_ids, {"question": (len(template.prefix_ids),) * 2})

    def configure_optimizers(self) -> Any:
        settings = self.settings
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / settings.warmup_steps))
        return {"optimizer": optimizer, "lr_scheduler": warm}

    def transfer_batch_to_device(
        self, batch: list[Example], device: torch.device, dataloader_idx: int
    ) -> list[Example]:
        return batch

    def on_fit_start(self) -> None:
        self.model.train()

    def training_step(self, batch: list[Example], index: int) -> Tensor:
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        ordered = sorted(batch, key=len)
        tokens = sum(len(example.solution) for example in batch)
        size = -(-len(ordered) // self.PARTS)
        total = solved = 0.0
        for start in range(0, len(ordered), size):
            logprobs_R = self._solution_logprobs(ordered[start : start + size])
            loss = -logprobs_R.sum() / tokens
            self.manual_backward(loss)
            total += float(loss.detach())
            solved += float(logprobs_R.detach().exp().sum())
        self.clip_gradients(optimizer, gradient_clip_val=self.settings.max_grad_norm, gradient_clip_algorithm="norm")
        optimizer.step()
        self.lr_schedulers().step()  # type: ignore[union-attr]
        self.recent.append(solved / len(batch))
        goal = self.settings.stop_at
        if goal is not None and len(self.recent) == 10 and sum(self.recent) / 10 >= goal:
            self.trainer.should_stop = True
        return torch.tensor(total)

    def _solution_logprobs(self, part: list[Example]) -> Tensor:
        """Log-probability ``[R]`` of each example's whole solution."""
        width = max(map(len, part))
        ids = torch.full((len(part), width), self.policy.pad_id)
        learnt = torch.zeros((len(part), width), dtype=torch.bool)
        for row, example in enumerate(part):
            ids[row, : len(example)] = torch.tensor(example.rest + example.solution)
            learnt[row, len(example.rest) : len(example)] = True
        lengths = torch.tensor([len(example) for example in part])
        logprobs = completion_scores(self.policy, [self.prefix], ids, lengths, len(part)).logprobs
        assert logprobs is not None
        return torch.where(learnt.to(logprobs.device), logprobs, 0.0).sum(dim=1)
