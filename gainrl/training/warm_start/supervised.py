"""Supervised learning of worked solutions: the settings of the phase, its batches, and its module."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from gainrl.datasets.templates import BoundPrompts
from gainrl.files import whole_file
from gainrl.functional.streams import generator
from gainrl.models.scoring import completion_scores
from gainrl.models.stops import closing_stop
from gainrl.types import Policy, ProblemSet, PromptTokens

SAVE_EVERY_SECONDS = 60.0
SAVING_SHARE = 0.05  # of the time, at most: the state of a large model takes many seconds to write


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmStart:
    """Settings of the supervised phase.

    It ends after ``steps`` steps, or once solutions have a probability of ``stop_at`` on average over the last ten
    steps: where skills appear suddenly, the same accuracy is reached at another step on another machine.

    A step takes ``sequences`` solutions; level ``k`` is drawn with weight ``level_ratio ** (k - 1)``, and not at all
    beyond ``max_level``. At level ``k`` a share of ``worked_ratio ** (k - 1)`` of them is worked out, the others are a
    bare boxed answer, as in data where long solutions are rare (arXiv 2510.11495): whether to work a problem out is
    left for reinforcement to learn. The learning rate rises over ``warmup_steps`` and then stays.

    ``micro_batch_tokens`` bounds the padded tokens of a forward and backward pass, and with them the memory; None runs
    a step in two passes, which suits a tiny model.

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
    micro_batch_tokens: int | None = None
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
        if self.micro_batch_tokens is not None and self.micro_batch_tokens < 1:
            raise ValueError(
                f"warm_start.micro_batch_tokens={self.micro_batch_tokens} must be 1 or more, or null; type 1024"
            )


@dataclass(frozen=True, slots=True)
class WarmStartProgress:
    """How far the phase is: steps done of ``steps``, this call's seconds and steps, the last mean probability."""

    step: int
    steps: int
    probability: float
    seconds: float
    steps_now: int

    def __str__(self) -> str:
        left = self.seconds / max(self.steps_now, 1) * (self.steps - self.step)
        return (
            f"warm start: step {self.step}/{self.steps}, solutions have probability {self.probability:.2f}, at most "
            f"{duration(left)} left"
        )


def train_supervised(
    policy: Policy,
    settings: WarmStart,
    template: BoundPrompts,
    problems: ProblemSet,
    *,
    state: Path | None = None,
    save_every_seconds: float | None = None,
    progress: Callable[[WarmStartProgress], None] | None = None,
) -> None:
    """Trains ``policy.model`` in place on worked solutions; raises ValueError where a problem has none.

    ``state``: a file in which weights and optimizer are kept now and then, so that a call that was interrupted goes on
    when it is made again, to the same weights bit for bit.
    """
    module = SupervisedModule(policy, settings, template)
    batches = SolutionBatches(policy, settings, template, problems)
    held = torch.load(state, map_location="cpu", weights_only=True) if state is not None and state.is_file() else None
    if held is not None:
        batches.first = held["step"]
        module.recent.extend(held["recent"])
        module.held = held
    if batches.first < settings.steps and not module.reached():
        trainer = lightning.Trainer(
            max_steps=settings.steps - batches.first,
            accelerator="cpu" if policy.device.type == "cpu" else "auto",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[
                Keeper(
                    state,
                    batches.first,
                    SAVE_EVERY_SECONDS if save_every_seconds is None else save_every_seconds,
                    progress,
                )
            ],
        )
        trainer.fit(module, DataLoader(batches, batch_size=None, num_workers=0))


class Keeper(lightning.Callback):
    """Reports every step, and now and then writes what a later call needs to go on from there."""

    def __init__(
        self,
        state: Path | None,
        first: int,
        seconds: float,
        progress: Callable[[WarmStartProgress], None] | None,
    ) -> None:
        self.state, self.first, self.seconds, self.progress = state, first, seconds, progress
        self.begun = self.saved = time.perf_counter()
        self.took = 0.0  # seconds of the last write

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, SupervisedModule)
        now, step = time.perf_counter(), self.first + batch_idx + 1
        if self.progress is not None:
            done = WarmStartProgress(
                step, pl_module.settings.steps, pl_module.recent[-1], now - self.begun, batch_idx + 1
            )
            self.progress(done)
        wait = max(self.seconds, self.took / SAVING_SHARE) if self.seconds else 0.0
        if self.state is not None and now - self.saved >= wait:
            optimizer: Any = pl_module.optimizers()
            held = {
                "step": step,
                "recent": list(pl_module.recent),
                "model": {name: value for name, value in pl_module.model.named_parameters() if value.requires_grad},
                "optimizer": optimizer.optimizer.state_dict(),
                "schedule": pl_module.lr_schedulers().state_dict(),  # type: ignore[union-attr]
            }
            with whole_file(self.state) as draft:
                torch.save(held, draft)
            self.saved = time.perf_counter()
            self.took = self.saved - now


def duration(seconds: float) -> str:
    """Minutes and seconds, such as ``3:05``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


@dataclass(frozen=True, slots=True)
class Example:
    """What follows the prefix that all prompts share: the rest of a prompt, and the solution with its stop token."""

    rest: list[int]
    solution: list[int]

    def __len__(self) -> int:
        return len(self.rest) + len(self.solution)


class SolutionBatches(IterableDataset):
    """Batches of examples, drawn by level from the stream of the step."""

    def __init__(self, policy: Policy, settings: WarmStart, template: BoundPrompts, problems: ProblemSet) -> None:
        self.settings = settings
        self.first = 0  # the step to begin with
        stop = closing_stop(policy)
        rows = list(problems)
        without = sum(problem.solution is None for problem in rows)
        if without:
            raise ValueError(
                f"{without} of {len(rows)} problems of {problems.name} have no worked solution to learn from; "
                "type model.warm_start=null or use a data set with solutions"
            )
        prompts = template.encode_problems(rows)
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
        return self.settings.steps - self.first

    def __iter__(self) -> Iterator[list[Example]]:
        for step in range(self.first, self.settings.steps):
            draw = generator(self.settings.seed, "warm_start", step)
            rows = draw.choice(len(self.worked), self.settings.sequences, p=self.weights)
            work_out = draw.random(len(rows)) < self.worked_shares[rows]
            yield [(self.worked if whole else self.bare)[row] for row, whole in zip(rows, work_out, strict=True)]


class SupervisedModule(lightning.LightningModule):
    """Cross-entropy on solution tokens, averaged over the tokens of a step.

    The prefix that all prompts share runs once in every pass, gradients included. Examples of similar length run
    together, since padding would otherwise double the cost.
    """

    def __init__(self, policy: Policy, settings: WarmStart, template: BoundPrompts) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.policy = policy
        self.model = policy.model
        self.settings = settings
        self.recent: deque[float] = deque(maxlen=10)
        self.held: dict[str, Any] | None = None  # what an earlier call left
        self.prefix = PromptTokens(template.prefix_ids, {"question": (len(template.prefix_ids),) * 2})

    def configure_optimizers(self) -> Any:
        settings = self.settings
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / settings.warmup_steps))
        if self.held is not None:
            with torch.no_grad():
                for name, weight in self.model.named_parameters():
                    if weight.requires_grad:
                        weight.copy_(self.held["model"][name])
            optimizer.load_state_dict(self.held["optimizer"])
            warm.load_state_dict(self.held["schedule"])
            self.held = None
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
        tokens = sum(len(example.solution) for example in batch)
        total = solved = 0.0
        for part in parts(batch, self.settings.micro_batch_tokens, prefix=len(self.prefix)):
            logprobs_R = self._solution_logprobs(part)
            loss = -logprobs_R.sum() / tokens
            self.manual_backward(loss)
            total += float(loss.detach())
            solved += float(logprobs_R.detach().exp().sum())
        self.clip_gradients(optimizer, gradient_clip_val=self.settings.max_grad_norm, gradient_clip_algorithm="norm")
        optimizer.step()
        self.lr_schedulers().step()  # type: ignore[union-attr]
        self.recent.append(solved / len(batch))
        if self.reached():
            self.trainer.should_stop = True
        return torch.tensor(total)

    def reached(self) -> bool:
        """Whether solutions are as probable as ``stop_at`` asks for."""
        goal = self.settings.stop_at
        return goal is not None and len(self.recent) == 10 and sum(self.recent) / 10 >= goal

    def _solution_logprobs(self, part: list[Example]) -> Tensor:
        """Log-probability ``[R]`` of each example's whole solution."""
        width = max(map(len, part))
        ids = torch.full((len(part), width), self.policy.pad_id)
        learnt = torch.zeros((len(part), width), dtype=torch.bool)
        for row, example in enumerate(part):
            ids[row, : len(example)] = torch.tensor(example.rest + example.solution)
            learnt[row, len(example.rest) : len(example)] = True
        lengths = torch.tensor([len(example) for example in part])
        # A large vocabulary makes the head expensive, so that it reads solutions only; a tiny one reads everything.
        scored = learnt if self.settings.micro_batch_tokens is not None else None
        logprobs = completion_scores(self.policy, [self.prefix], ids, lengths, len(part), scored_BT=scored).logprobs
        assert logprobs is not None
        return torch.where(learnt.to(logprobs.device), logprobs, 0.0).sum(dim=1)


def parts(batch: Sequence[Example], most_tokens: int | None, *, prefix: int) -> list[list[Example]]:
    """The examples of a step in parts of similar length: two, or as few as keep ``most_tokens`` padded tokens each.

    ``prefix``: tokens that run once in every part besides. A longer example than fits makes a part of its own.
    """
    ordered = sorted(batch, key=len)
    if most_tokens is None:
        size = -(-len(ordered) // 2)
        return [ordered[start : start + size] for start in range(0, len(ordered), size)]
    found: list[list[Example]] = [[]]
    for example in ordered:
        if found[-1] and (len(found[-1]) + 1) * len(example) + prefix > most_tokens:
            found.append([])
        found[-1].append(example)
    return found
