"""Accuracy on problems that never train, at a fixed period, with the same completions' seeds every time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback

from gainrl.training.datamodule import PromptDataModule
from gainrl.training.evaluation import (
    Completion,
    EvaluationSet,
    EvaluationSettings,
    Scores,
    chosen_rows,
    evaluate,
    mean_of_known,
    problems_at_once,
    scores,
)
from gainrl.training.grpo import GRPOModule
from gainrl.training.precision import in_training_precision
from gainrl.training.solutions import solution_logprobs
from gainrl.types import Policy, Reward


class Evaluation(Callback):
    """Greedy accuracy, avg@k, unbiased pass@k and maj@k, overall and by level or source, every ``every`` rollout steps.

    Where problems have worked solutions, their log-probability under the policy too, in nats per token.

    Also before the first step and after the last, whether or not another callback made it the last. The problems that
    the data set holds out are logged as ``eval/accuracy`` and so on, each the mean over levels (over sources where the
    data set compares those); ``held_out=False`` leaves them out. Each of ``sets`` is logged as ``eval/<name>/accuracy``
    and so on, means over its problems, as published numbers are. The headline ``eval/accuracy`` is that of the held-out
    problems, or without them the mean over ``sets``.

    ``samples``: completions per problem for avg@k, pass@k and maj@k (0 for greedy only), drawn at ``temperature`` from
    streams that are the same at every evaluation. ``limit``: at most that many problems of each level.
    """

    def __init__(
        self,
        *,
        every: int,
        samples: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        limit: int | None = None,
        max_new_tokens: int,
        seed: int = 0,
        held_out: bool = True,
        sets: Sequence[EvaluationSet] = (),
    ) -> None:
        if every < 1:
            raise ValueError(f"evaluation.every={every}: evaluate every 1 or more steps; type evaluation.every=25")
        self.every = every
        self.settings = EvaluationSettings(
            samples=samples,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            limit=limit,
            seed=seed,
        )
        self.held_out = held_out
        self.sets = list(sets)
        self.first: dict[str, float] = {}
        self.latest: dict[str, float] = {}
        self.measured_at: int | None = None  # the step after which ``latest`` was measured
        self.held_out_scores: Scores | None = None  # of the last evaluation; None after a restart

    def fresh(self, step: int) -> dict[str, float]:
        """The metrics of the evaluation after ``step``; empty if there was none."""
        return self.latest if self.measured_at == step else {}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GRPOModule)
        if pl_module.counters.step == 0:
            self._run(trainer, pl_module)
            self.first = dict(self.latest)
        pl_module.log_dict(self.latest, logger=False)  # of now, or of before a resume

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, GRPOModule)
        data: PromptDataModule = trainer.datamodule  # type: ignore[attr-defined]
        step = pl_module.counters.step
        if step % self.every == 0 or step == data.pool.total_steps:
            self._run(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GRPOModule)
        if self.measured_at != pl_module.counters.step:
            self._run(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {"first": dict(self.first), "latest": dict(self.latest), "measured_at": self.measured_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.first, self.latest = dict(state_dict["first"]), dict(state_dict["latest"])
        self.measured_at = state_dict["measured_at"]

    def _run(self, trainer: lightning.Trainer, module: GRPOModule) -> None:
        data: PromptDataModule = trainer.datamodule  # type: ignore[attr-defined]
        with module.clock("evaluation"), in_training_precision(trainer):
            metrics = self.measure(module, data)
        if metrics:
            self.latest = metrics
            module.log_dict(metrics, logger=False)
        self.measured_at = module.counters.step

    def measure(self, module: GRPOModule, data: PromptDataModule) -> dict[str, float]:
        """All metrics of one evaluation; names start with ``eval/``."""

        def found(evaluated: EvaluationSet) -> Scores:
            rows = module.ranks.share(chosen_rows(evaluated, self.settings.limit).tolist())
            judged: list[int] = []

            def note(fresh: list[Completion]) -> None:
                judged.extend({completion.row for completion in fresh})
                module.clock.tell(f"{len(judged)}/{len(rows)} problems")

            share = partial(
                evaluate,
                evaluated,
                module.policy,
                engine=module.engine,
                template=data.template,
                settings=self.settings,
                rows=rows,
                batch_problems=problems_at_once(module.trained, self.settings),
                on_batch=note,
            )
            with module.rolling_out():
                shares = module.ranks.everywhere(share)
            completions = [completion for part in shares for completion in part]
            module.clock.count(sum(completion.tokens for completion in completions))
            result = scores(evaluated, completions, self.settings)
            result.add_solutions(self._solutions(module, data, evaluated))
            return result

        metrics: dict[str, float] = {}
        for evaluated in self.sets:
            metrics |= set_metrics(f"eval/{evaluated.name}", found(evaluated), over_groups=False)
        held_out = self._held_out(data, module.reward)
        if held_out is not None:
            self.held_out_scores = found(held_out)
            metrics = set_metrics("eval", self.held_out_scores, over_groups=True) | metrics
        elif self.sets:
            mean = float(np.mean([metrics[f"eval/{evaluated.name}/accuracy"] for evaluated in self.sets]))
            metrics = {"eval/accuracy": mean} | metrics
        return metrics

    def decoded_at_once(
        self, policy: Policy, data: PromptDataModule, reward: Reward, processes: int = 1
    ) -> dict[int, int]:
        """Completions that each process of an evaluation asks for at a time, by the size of their groups."""
        held_out = self._held_out(data, reward)
        sets = [*self.sets, *([] if held_out is None else [held_out])]
        most = max((len(chosen_rows(evaluated, self.settings.limit)) for evaluated in sets), default=0)
        most = math.ceil(most / processes)
        together = min(most, problems_at_once(policy, self.settings) or most)
        size = len(self.settings.draws)
        return {size: size * together}

    def _held_out(self, data: PromptDataModule, reward: Reward) -> EvaluationSet | None:
        if not self.held_out or data.held_out is None:
            return None
        return EvaluationSet("held_out", data.held_out, reward, data.compare_by)

    def _solutions(self, module: GRPOModule, data: PromptDataModule, evaluated: EvaluationSet) -> Sequence[float]:
        problems = [evaluated.problems[row] for row in chosen_rows(evaluated, self.settings.limit).tolist()]
        with module.whole_policy():
            return module.ranks.map(
                lambda share: solution_logprobs(module.policy, data.template, share).tolist(), problems
            )


def evaluation_of(callbacks: Iterable[Callback]) -> Evaluation | None:
    """The evaluation of a run, None if it has none."""
    return next((callback for callback in callbacks if isinstance(callback, Evaluation)), None)


def fresh_evaluation(trainer: lightning.Trainer, step: int) -> dict[str, float]:
    """The metrics of a run's evaluation after ``step``; empty if there was none."""
    evaluation = evaluation_of(trainer.callbacks)  # type: ignore[attr-defined]
    return {} if evaluation is None else evaluation.fresh(step)


def fresh_problems(trainer: lightning.Trainer, step: int) -> dict[str, Any]:
    """What the evaluation after ``step`` found for each held-out problem; empty if there was none.

    ``verdicts``: a 1 where greedy decoding was right, else 0, as a text. ``solution_logprobs``: nats per token, None
    where a problem has no worked solution; left out where all have none.
    """
    found = evaluation_of(trainer.callbacks)  # type: ignore[attr-defined]
    if found is None or found.measured_at != step or found.held_out_scores is None:
        return {}
    values = found.held_out_scores.values
    problems: dict[str, Any] = {"verdicts": "".join("1" if right else "0" for right in values["accuracy"] > 0)}
    if "solution_logprob" in values:
        logprobs = values["solution_logprob"].tolist()
        problems["solution_logprobs"] = [None if math.isnan(value) else round(value, 4) for value in logprobs]
    return problems


def set_metrics(prefix: str, found: Scores, *, over_groups: bool) -> dict[str, float]:
    """``prefix/name``: mean over problems, or over levels or sources if asked for; ``prefix/name/level_k``: of one."""
    metrics: dict[str, float] = {}
    for name, values in found.values.items():
        groups = found.means(name)
        overall = float(np.mean(list(groups.values()))) if over_groups and groups else mean_of_known(values)
        metrics[f"{prefix}/{name}"] = overall
        metrics |= {f"{prefix}/{name}/{group}": mean for group, mean in groups.items()}
    return metrics
