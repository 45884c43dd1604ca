r"""The reward of mathematical answers: it finds them, compares numbers, and has worker processes compare the rest.

Decisions beyond those of `extraction`, `notation`, `numerals` and `equivalence`:

1. A reference answer that is a whole worked solution is read by `references`. ``problem.extra`` may hold
   ``alt_answers`` (further accepted answers, unless ``alternatives`` is false), ``tolerance`` (absolute, as
   OlympiadBench publishes it) and ``is_multiple_answer`` (commas separate answers).
2. A text identical to the reference is correct even where neither can be read.
3. Numbers of at most `MAX_NUMBER_HERE` characters are read and compared here; all else goes to the workers. Verdicts
   are remembered by (answer, references), timeouts among them: the same hostile answer costs one worker, not one per
   step.
4. An answer that exhausts its worker's time, memory or stack is a timeout and trains with ``wrong_value``. A worker
   that fails for another reason, or a batch that runs out of time, yields an error, which leaves its group.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from gainrl.functional.thinking import Thinking, ThinkingMode
from gainrl.rewards.extraction import Extraction, Fallback, answer_key, check_fallback, final_answer
from gainrl.rewards.notation import clean
from gainrl.rewards.numerals import PlainNumber, fast_number, read_number, same_number
from gainrl.rewards.references import final_part
from gainrl.rewards.verdicts import check_setting
from gainrl.rewards.workers import Outcome, WorkerPool, Workers
from gainrl.types import Judgement, Problem, Verdict

MAX_ANSWER_CHARACTERS = 5_000
MAX_NUMBER_HERE = 60
COMPARISON = "gainrl.rewards.equivalence:compare"

Question = tuple[str, tuple[str, ...], float | None, bool]


class MathReward:
    """Judges final answers against reference answers.

    ``workers``: processes that compare; ``auto`` follows the machine, see `workers.automatic_workers`.
    ``time_limit_seconds``: wall clock per answer, enforced by killing the worker. ``batch_limit_seconds``: wall
    clock after which no further answer of a call to `score` is begun. ``memory_limit_megabytes``: what a worker may
    allocate. ``fallback``: what to read where there is neither a box nor ``####``, ``none`` or ``last_number``.
    ``alternatives``: whether ``alt_answers`` count. ``thinking`` and ``prompt_opens_thinking``: see
    `functional.thinking.Thinking`. The three values are what trains for a correct, a wrong (or timed out) and an
    missing answer. ``cache_size``: verdicts remembered. Raises ValueError for an unknown fallback, settings of
    thinking that contradict each other, values that are not finite numbers, and limits that are not positive.
    """

    def __init__(
        self,
        *,
        workers: Workers = "auto",
        time_limit_seconds: float = 5.0,
        batch_limit_seconds: float = 60.0,
        memory_limit_megabytes: int = 1024,
        fallback: Fallback = "none",
        alternatives: bool = True,
        thinking: ThinkingMode = "optional",
        prompt_opens_thinking: bool = False,
        correct_value: float = 1.0,
        wrong_value: float = 0.0,
        unparsable_value: float = 0.0,
        cache_size: int = 100_000,
    ) -> None:
        check_fallback(fallback)
        if isinstance(cache_size, bool) or not isinstance(cache_size, int) or cache_size < 0:
            raise ValueError(
                f"cache_size={cache_size} is not a number of verdicts. Give 0, or a whole number above it."
            )
        self.fallback = fallback
        self.alternatives = alternatives
        self.thinking = Thinking(mode=thinking, opened=prompt_opens_thinking)
        self.cache_size = cache_size
        wrong = check_setting("wrong_value", wrong_value)
        self._values = {
            Judgement.CORRECT: check_setting("correct_value", correct_value),
            Judgement.WRONG: wrong,
            Judgement.TIMEOUT: wrong,
            Judgement.UNPARSABLE: check_setting("unparsable_value", unparsable_value),
        }
        self._cache: OrderedDict[Question, tuple[Judgement, str]] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._pool = WorkerPool(
            function=COMPARISON,
            workers=workers,
            time_limit_seconds=time_limit_seconds,
            batch_limit_seconds=batch_limit_seconds,
            memory_limit_megabytes=memory_limit_megabytes,
        )

    def score(self, completions: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        """One verdict per completion; ``problems[i]`` belongs to ``completions[i]``."""
        questions: list[Question | None] = []
        known: dict[Question, tuple[Judgement, str]] = {}
        unknown: dict[Question, None] = {}  # ordered, each once: the completions of a group often agree
        answers = [final_answer(text, fallback=self.fallback, thinking=self.thinking) for text in completions]
        for answer, problem in zip(answers, problems, strict=True):
            question = self._question(answer, problem)
            questions.append(question)
            if question is None or question in known or question in unknown:
                continue
            decided = self._recall(question) or decide_here(question)
            if decided is None:
                unknown[question] = None
            else:
                known[question] = decided
                self._remember(question, decided)
        for question, outcome in zip(unknown, self._pool.run(list(unknown)), strict=True):
            known[question] = judgement_of(outcome)
            self._remember(question, known[question])
        return [
            self._verdict(*(known[question] if question is not None else _unreadable(answer)), answer)
            for question, answer in zip(questions, answers, strict=True)
        ]

    def judge(self, completion: str, reference_answer: str) -> Verdict:
        """The verdict for a single pair."""
        return self.score([completion], [Problem(id="", question="", reference_answer=reference_answer)])[0]

    def unjudgeable(self, problem: Problem) -> str | None:
        """Why no completion of a problem can be judged; None if some can."""
        if any(self._references(problem)):
            return None
        if problem.reference_answer.strip():
            return (
                f"The reference answer of problem {problem.id!r} is a text of many words without a final answer "
                f"({problem.reference_answer.strip()[:60]!r}...). Name the field of the final answers with "
                "dataset.answer=<field>, or put each of them into \\boxed{} or after ####."
            )
        return f"Problem {problem.id!r} has no reference answer; reward=code runs tests, reward=custom is your own."

    def answer_key(self, completion: str) -> str | None:
        """What the completion votes for in a majority vote; None where it gives no answer."""
        answer = final_answer(completion, fallback=self.fallback, thinking=self.thinking)
        return None if answer is None else answer_key(answer.text)

    def close(self) -> None:
        """Ends the worker processes; a later call starts new ones. They also end with the program."""
        self._pool.close()

    def __getstate__(self) -> dict[str, Any]:
        """Settings only: a copy in another process remembers nothing and starts workers of its own."""
        return {name: value for name, value in vars(self).items() if name != "_cache_lock"} | {"_cache": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _cache_lock=threading.Lock())

    def _question(self, answer: Extraction | None, problem: Problem) -> Question | None:
        if answer is None or len(answer.text) > MAX_ANSWER_CHARACTERS:
            return None
        tolerance = problem.extra.get("tolerance")
        is_list = bool(problem.extra.get("is_multiple_answer"))
        return answer.text, self._references(problem), None if tolerance in (None, "") else float(tolerance), is_list

    def _references(self, problem: Problem) -> tuple[str, ...]:
        further = problem.extra.get("alt_answers") or () if self.alternatives else ()
        read = (final_part(text) for text in (problem.reference_answer, *map(str, further)))
        return tuple(dict.fromkeys(text for text in read if text is not None))

    def _verdict(self, judgement: Judgement, detail: str, answer: Extraction | None) -> Verdict:
        read = f"{answer.rule}: {answer.text[:200]}; " if answer is not None else ""
        return Verdict(judgement, self._values.get(judgement, 0.0), detail=read + detail)

    def _recall(self, question: Question) -> tuple[Judgement, str] | None:
        with self._cache_lock:
            if question not in self._cache:
                return None
            self._cache.move_to_end(question)
            return self._cache[question]

    def _remember(self, question: Question, decided: tuple[Judgement, str]) -> None:
        if decided[0] is Judgement.ERROR:
            return
        with self._cache_lock:
            self._cache[question] = decided
            while len(self._cache) > self.cache_size:
                self._cache.popitem(last=False)


def decide_here(question: Question) -> tuple[Judgement, str] | None:
    """The judgement of short numbers, as `equivalence.compare` would have it; None for all else."""
    answer, references, tolerance, is_list = question
    if not any(references):
        return Judgement.GOLD_UNPARSABLE, "there is no reference answer, or one of many words without a final answer"
    if is_list or tolerance is not None:
        return None
    if max(len(answer), *map(len, references)) > MAX_NUMBER_HERE:
        return None
    value, values = fast_number(answer), [fast_number(reference) for reference in references]
    if value is not None and None not in values:
        return (Judgement.CORRECT, "equal") if value in values else (Judgement.WRONG, "not equal")
    number = read_number(clean(answer))
    if number is None:
        return None
    expected = [
        PlainNumber(plain, "." in reference)
        if plain is not None and "$" not in reference
        else read_number(clean(reference), is_reference=True)
        for plain, reference in zip(values, references, strict=True)
    ]
    if None in expected:
        return None
    agrees = any(same_number(number, one) for one in expected if one is not None)
    return (Judgement.CORRECT, "equal") if agrees else (Judgement.WRONG, "not equal")


def judgement_of(outcome: Outcome) -> tuple[Judgement, str]:
    """What the end of a worker's call says of the answer."""
    if outcome.status == "done":
        judgement, detail = outcome.result
        return Judgement(judgement), detail
    if outcome.status in ("timeout", "exhausted"):
        return Judgement.TIMEOUT, f"{outcome.status}: {outcome.result}"
    return Judgement.ERROR, f"{outcome.status}: {outcome.result}"


def _unreadable(answer: Extraction | None) -> tuple[Judgement, str]:
    if answer is None:
        return Judgement.UNPARSABLE, "no answer found"
    return (
        Judgement.UNPARSABLE,
        f"an answer of {len(answer.text)} characters (at most {MAX_ANSWER_CHARACTERS} are read)",
    )
