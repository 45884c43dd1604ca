"""Accuracy of a policy on problems that never train: the one way of training's callback and of ``gainrl-evaluate``.

Every problem gets one greedy completion and ``samples`` drawn ones. The draws come from streams of (seed, problem id):
they are the same at every evaluation of a run, for any batching, and when an interrupted evaluation goes on.

A completion that could not be judged counts as not correct, so that accuracies refer to the published number of
problems; `Completion.judgement` tells such cases apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from gainrl.datasets.templates import BoundPrompts
from gainrl.functional.evaluation import average_at_k, majority_at_k, pass_at_k
from gainrl.functional.streams import stream_key
from gainrl.models.four_bit import count
from gainrl.training.collection import score_rollout
from gainrl.types import Judgement, Policy, ProblemSet, Reward, RolloutEngine, SamplingParams

GREEDY = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSettings:
    """What is drawn: ``samples`` completions per problem besides the greedy one (0 for none), with the usual settings.

    ``limit``: at most that many problems of each level, the first ones (of each level of each source where a set is
    compared by source). Raises ValueError for values out of range.
    """

    samples: int
    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"rollout.max_new_tokens={self.max_new_tokens}: a completion needs room; type 1 or more")
        if self.samples < 0:
            raise ValueError(
                f"evaluation.samples={self.samples} must be 0 or more; type evaluation.samples=4, or "
                "evaluation.samples=0 for greedy decoding only"
            )
        if self.samples and self.temperature <= 0:
            raise ValueError(
                f"evaluation.temperature={self.temperature} gives {self.samples} equal samples; type "
                "evaluation.temperature=1.0, or evaluation.samples=0 for greedy decoding only"
            )
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"evaluation.limit={self.limit} leaves no problem; type 1 or more, or null for all")

    @property
    def draws(self) -> list[int]:
        """Which completions a problem gets: `GREEDY`, then the places of its samples."""
        return [GREEDY, *range(self.samples)]


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Problems under a name, what judges them, and whether they are compared by level or by source."""

    name: str
    problems: ProblemSet
    reward: Reward
    compare_by: Literal["level", "source"] = "level"


@dataclass(frozen=True, slots=True)
class Completion:
    """One judged completion of the problem in ``row``; ``draw`` is `GREEDY` or its place among the samples.

    ``answer``: what it votes for in a majority vote, None where it gives no answer or the reward knows no votes.
    """

    row: int
    draw: int
    text: str
    judgement: Judgement
    value: float
    answer: str | None
    tokens: int
    truncated: bool
    detail: str
    outcome: str = ""

    @property
    def correct(self) -> bool:
        return self.judgement is Judgement.CORRECT


def evaluate(
    evaluated: EvaluationSet,
    policy: Policy,
    *,
    engine: RolloutEngine,
    template: BoundPrompts,
    settings: EvaluationSettings,
    rows: Sequence[int] | None = None,
    known: Sequence[Completion] = (),
    batch_problems: int | None = None,
    on_batch: Callable[[list[Completion]], None] | None = None,
) -> list[Completion]:
    """All completions of a set, by row and draw.

    ``rows``: the problems to evaluate in place of those that ``settings.limit`` chooses; all of them if None.
    ``known``: completions of an earlier, interrupted call; problems that have all of theirs are not generated again.
    ``batch_problems``: problems generated and judged together, those with the longest prompts first (None: all at
    once). ``on_batch`` receives the completions of each batch, all draws of its problems.
    """
    chosen = chosen_rows(evaluated, settings.limit).tolist() if rows is None else list(rows)
    done = completed(known, settings)
    todo = [row for row in chosen if row not in done]
    problems = {row: evaluated.problems[row] for row in todo}
    encoded = template.encode_problems([problems[row] for row in todo]) if todo else []
    prompts = dict(zip(todo, encoded, strict=True))
    # Prompts of one batch are of similar length, and the batch that needs most memory is the first to run.
    todo.sort(key=lambda row: -len(prompts[row]))
    kept = [completion for row in chosen for completion in done.get(row, ())]
    votes = getattr(evaluated.reward, "answer_key", None)

    def complete(rows: list[int], draws: list[int]) -> list[Completion]:
        sampling, size = sampling_of(settings, draws), len(draws)
        batch = [problems[row] for row in rows]
        keys = torch.tensor([stream_key(settings.seed, "evaluation", problem.id) for problem in batch])
        rollout = engine.generate(policy, [prompts[row] for row in rows], sampling, keys)
        texts, verdicts = score_rollout(policy, evaluated.reward, rollout, batch)
        lengths, truncated = rollout.lengths.tolist(), rollout.truncated.tolist()
        return [
            Completion(
                row=rows[place // size],
                draw=draws[place % size],
                text=text,
                judgement=verdict.judgement,
                value=float(verdict.value),
                answer=votes(text) if votes is not None else None,
                tokens=lengths[place],
                truncated=truncated[place],
                detail=verdict.detail,
                outcome=verdict.outcome,
            )
            for place, (text, verdict) in enumerate(zip(texts, verdicts, strict=True))
        ]

    # Completions that are decoded together share the forward over their prompt.
    together = getattr(engine, "decodes_mixed", False) or not settings.samples
    requests = [settings.draws] if together else [settings.draws[:1], settings.draws[1:]]
    size = batch_problems or max(1, len(todo))
    for start in range(0, len(todo), size):
        rows = todo[start : start + size]
        fresh = [completion for draws in requests for completion in complete(rows, draws)]
        fresh.sort(key=lambda completion: (completion.row, completion.draw))
        if on_batch is not None:
            on_batch(fresh)
        kept += fresh
    return sorted(kept, key=lambda completion: (completion.row, completion.draw))


def sampling_of(settings: EvaluationSettings, draws: Sequence[int]) -> SamplingParams:
    """What an engine is asked for so that each problem gets ``draws``: `GREEDY`, places among the samples, or both.

    A sample has the same random numbers whether the greedy completion is drawn beside it or not.
    """
    sampled = draws[-1] != GREEDY
    return SamplingParams(
        group_size=len(draws),
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature if sampled else 0.0,
        top_p=settings.top_p if sampled else 1.0,
        top_k=settings.top_k if sampled else 0,
        greedy_first=sampled and draws[0] == GREEDY,
    )


_OPERATIONS_AT_ONCE = 8e12  # some forty seconds of a processor's core
_PROMPT_TOKENS = 100  # as many as a prompt may have for all that this estimate matters


def problems_at_once(policy: Policy, settings: EvaluationSettings) -> int | None:
    """Problems to generate and judge together, so that a processor reports every now and then; None for all of them.

    A tiny model has all of them done before anyone would ask, and a GPU is fastest with as many as fit.
    """
    if policy.device.type != "cpu":
        return None
    tokens = (_PROMPT_TOKENS + settings.max_new_tokens) * len(settings.draws)
    size = sum(map(count, policy.model.parameters()))
    return max(8, int(_OPERATIONS_AT_ONCE / (2 * size * tokens)))


def completed(completions: Sequence[Completion], settings: EvaluationSettings) -> dict[int, list[Completion]]:
    """The completions of each row that has all of its draws."""
    by_row: dict[int, dict[int, Completion]] = {}
    for completion in completions:
        by_row.setdefault(completion.row, {})[completion.draw] = completion
    draws = settings.draws
    return {
        row: [found[draw] for draw in draws] for row, found in by_row.items() if all(draw in found for draw in draws)
    }


def chosen_rows(evaluated: EvaluationSet, limit: int | None) -> np.ndarray:
    """Rows to evaluate: all, or the first ``limit`` of each level (of the whole set where it has no levels).

    Where a set is compared by source, the first ``limit`` of each level of each source.
    """
    problems = evaluated.problems
    if limit is None:
        return np.arange(len(problems))
    levels = problems.column("level")
    kinds = np.zeros(len(problems), np.int64) if levels is None else np.asarray(levels)
    if evaluated.compare_by == "source":
        sources = np.unique(_sources(problems), return_inverse=True)[1]
        kinds = np.unique(np.stack([sources, kinds]), axis=1, return_inverse=True)[1]
    return np.sort(np.concatenate([np.flatnonzero(kinds == kind)[:limit] for kind in np.unique(kinds)]))


@dataclass(frozen=True, slots=True)
class Scores:
    """One number per evaluated problem under each name, ``[N]`` each: ``accuracy``, ``avg@k``, ``pass@k``, ``maj@k``.

    ``solution_logprob`` joins them where problems have worked solutions, NaN for those that have none; means leave
    those out.

    ``groups``: for each level or source that is compared, named ``level_<k>`` or ``source_<name>``, which problems
    belong to it, ``[N]`` bool; empty where the data has none.
    """

    groups: dict[str, np.ndarray]
    values: dict[str, np.ndarray]

    def means(self, name: str) -> dict[str, float]:
        """Mean of the problems of each group that has a number."""
        found = {group: mean_of_known(self.values[name][members]) for group, members in self.groups.items()}
        return {group: mean for group, mean in found.items() if not np.isnan(mean)}

    def add_solutions(self, logprobs: Sequence[float]) -> None:
        """Adds `solution_logprobs` of the problems, if any of them has one."""
        if not np.isnan(logprobs).all():
            self.values["solution_logprob"] = np.asarray(logprobs, np.float64)


def mean_of_known(values: np.ndarray) -> float:
    """The mean of what is not NaN; NaN if nothing is left."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def scores(
    evaluated: EvaluationSet,
    completions: Sequence[Completion],
    settings: EvaluationSettings,
    *,
    ks: Sequence[int] | None = None,
) -> Scores:
    """Scores of a set from all its completions, as `evaluate` gives them.

    ``accuracy`` is that of greedy decoding. ``ks``: numbers of samples for pass@k and maj@k, all of them if None.
    maj@k is left out where the reward knows no votes.
    """
    by_row = completed(completions, settings)
    rows = np.array(sorted(by_row), np.int64)
    values = {"accuracy": np.array([float(by_row[int(row)][0].correct) for row in rows])}
    if settings.samples:
        samples = [by_row[int(row)][1:] for row in rows]
        correct_NK = np.array([[completion.correct for completion in group] for group in samples])
        ks = [settings.samples] if ks is None else ks
        values[f"avg@{settings.samples}"] = average_at_k(correct_NK)
        values |= {f"pass@{k}": pass_at_k(correct_NK, k) for k in ks}
        if getattr(evaluated.reward, "answer_key", None) is not None:
            answers = [[completion.answer for completion in group] for group in samples]
            for k in ks:
                votes = [majority_at_k(a, c.tolist(), k) for a, c in zip(answers, correct_NK, strict=True)]
                values[f"maj@{k}"] = np.array(votes)
    return Scores(_groups(evaluated, rows), values)


def _groups(evaluated: EvaluationSet, rows: np.ndarray) -> dict[str, np.ndarray]:
    if evaluated.compare_by == "source":
        sources = _sources(evaluated.problems)[rows]
        return {f"source_{source}": sources == source for source in np.unique(sources)}
    levels = evaluated.problems.column("level")
    if levels is None:
        return {}
    of_rows = np.asarray(levels)[rows]
    return {f"level_{level}": of_rows == level for level in np.unique(of_rows[of_rows >= 0])}


def _sources(problems: ProblemSet) -> np.ndarray:
    """``[N]`` names without the path in front of them (``reasoning_gym/gcd`` is ``gcd``)."""
    sources = problems.column("source")
    assert sources is not None
    return np.array([str(source).rpartition("/")[2] for source in sources])
