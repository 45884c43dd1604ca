r"""The reward of generated tasks: reasoning-gym's own scorer of the task that made the problem (arXiv 2505.24760).

A problem carries ``extra = {"task": name, "entry": {"question", "answer", "metadata"}}``. The entry, or its metadata
alone, may be stored as JSON text, since columnar files hold no free-form records. Four scorers depend on the settings
of their task (decimal_arithmetic, puzzle24, time_intervals, polynomial_equations): ``extra["config"]`` may hold those
that differ from the task's defaults, again as a record or as JSON text. For a task that reasoning-gym does not have,
``extra["module"]`` names a module with a function ``score_answer(answer, entry)``.

Departures from the scorers as published:

1. The scorer sees the content of the last ``\boxed{}`` (``extract="boxed"``); with ``extract="full"`` it sees the whole
   visible text.
2. Many scorers give partial credit (0.01 for any answer that can be read, a share for a near miss). The score is the
   value that trains; the judgement is correct only at a full score of 1, else wrong.
3. JSON turns tuples into lists and integer keys into text. A scorer that fails on an entry yields an error, so that the
   completion leaves its group instead of counting as wrong.
4. Scorers run in worker processes with a time limit, since some of them evaluate what the model wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from gainrl.functional.thinking import Thinking, ThinkingMode
from gainrl.rewards.extraction import answer_key, final_answer
from gainrl.rewards.workers import Outcome, WorkerPool, Workers
from gainrl.types import Judgement, Problem, Verdict

FULL_SCORE = 1.0 - 1e-9
MAX_ANSWER_CHARACTERS = 20_000


class ProceduralReward:
    """Scores completions with the scorer of the reasoning-gym task that made each problem.

    ``extract``: what the scorer reads, ``boxed`` or ``full``. ``partial_credit``: whether the value that trains is the
    task's own score in [0, 1], or 1 for a full score and 0 for any other. ``thinking`` and ``prompt_opens_thinking``:
    see `functional.thinking.Thinking`. The limits are those of `workers.WorkerPool`. Raises ValueError for an unknown
    ``extract``, settings of thinking that contradict each other, and limits that are not positive.
    """

    def __init__(
        self,
        *,
        extract: Literal["boxed", "full"] = "boxed",
        partial_credit: bool = True,
        thinking: ThinkingMode = "optional",
        prompt_opens_thinking: bool = False,
        workers: Workers = "auto",
        time_limit_seconds: float = 5.0,
        batch_limit_seconds: float = 60.0,
        memory_limit_megabytes: int = 1024,
    ) -> None:
        if extract not in ("boxed", "full"):
            raise ValueError(f"extract={extract!r} names nothing a scorer can read. Use extract=boxed or extract=full.")
        self.extract = extract
        self.partial_credit = partial_credit
        self.thinking = Thinking(mode=thinking, opened=prompt_opens_thinking)
        pool = partial(
            WorkerPool,
            workers=workers,
            time_limit_seconds=time_limit_seconds,
            batch_limit_seconds=batch_limit_seconds,
            memory_limit_megabytes=memory_limit_megabytes,
        )
        self._pool = pool(function="gainrl.rewards.scorers:score_answer")
        self._own_pool = pool(function="gainrl.rewards.own_scorers:score_answer")

    def score(self, completions: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        """One verdict per completion; never raises on what a model or a data set wrote."""
        verdicts: dict[int, Verdict] = {}
        calls: dict[int, tuple[Any, ...]] = {}
        own_calls: dict[int, tuple[Any, ...]] = {}
        for row, (completion, problem) in enumerate(zip(completions, problems, strict=True)):
            answer = self._read(completion)
            try:
                task, settings, entry = read_entry(problem)
            except ValueError as fault:
                verdicts[row] = Verdict(Judgement.GOLD_UNPARSABLE, 0.0, detail=str(fault))
                continue
            if answer is None or len(answer) > MAX_ANSWER_CHARACTERS:
                verdicts[row] = Verdict(Judgement.UNPARSABLE, 0.0, detail="no answer, or one too long to read")
            elif module := problem.extra.get("module"):
                own_calls[row] = (module, answer, entry)
            else:
                calls[row] = (task, settings, answer, entry)
        for pool, its_calls in ((self._pool, calls), (self._own_pool, own_calls)):
            for row, outcome in zip(its_calls, pool.run(list(its_calls.values())), strict=True):
                verdicts[row] = self._verdict(outcome, its_calls[row][-2])
        return [verdicts[row] for row in range(len(completions))]

    def unjudgeable(self, problem: Problem) -> str | None:
        """Why no completion of a problem can be judged; None if some can."""
        try:
            read_entry(problem)
        except ValueError as fault:
            return str(fault)
        return None

    def answer_key(self, completion: str) -> str | None:
        """What the completion votes for in a majority vote; None where it gives no answer."""
        answer = self._read(completion)
        return None if answer is None else answer_key(answer)

    def close(self) -> None:
        """Ends the worker processes; a later call starts new ones. They also end with the program."""
        self._pool.close()
        self._own_pool.close()

    def _read(self, completion: str) -> str | None:
        if self.extract == "full":
            return self.thinking.answer_part(completion).strip() or None
        answer = final_answer(completion, thinking=self.thinking)
        return answer.text if answer is not None and answer.rule == "box" else None

    def _verdict(self, outcome: Outcome, answer: str) -> Verdict:
        if outcome.status in ("timeout", "exhausted"):
            return Verdict(Judgement.TIMEOUT, 0.0, detail=f"{outcome.status}: {outcome.result}")
        if outcome.status != "done":
            return Verdict(Judgement.ERROR, 0.0, detail=f"{outcome.status}: {outcome.result}")
        kind, result = outcome.result
        if kind != "scored":
            fault = Judgement.GOLD_UNPARSABLE if kind == "unknown_task" else Judgement.ERROR
            return Verdict(fault, 0.0, detail=result)
        judgement = Judgement.CORRECT if result >= FULL_SCORE else Judgement.WRONG
        value = result if self.partial_credit else float(judgement is Judgement.CORRECT)
        return Verdict(judgement, value, detail=answer[:200])


def read_entry(problem: Problem) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The task's name, its settings and the entry its scorer wants, with JSON text turned back into records.

    Raises ValueError where the problem carries no task or no usable entry.
    """
    task, entry = problem.extra.get("task"), _record(problem.extra.get("entry"))
    if not isinstance(task, str) or not entry or "answer" not in entry:
        raise ValueError(
            f"Problem {problem.id!r} carries no generated task in extra (it has {sorted(problem.extra)}). "
            "Use reward=procedural with dataset=reasoning_gym, or reward=math for reference answers."
        )
    return task, _record(problem.extra.get("config")), entry | {"metadata": _record(entry.get("metadata"))}


def _record(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = json.loads(value) if value else {}
    return dict(value) if isinstance(value, Mapping) else {}
