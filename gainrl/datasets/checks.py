"""What is wrong with a data set, counted, with the rule that is applied to it.

Texts are compared without case, spacing and punctuation, so that a problem counts as the same one however it was
typeset; reworded copies are not found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gainrl.datasets.arrow import ArrowProblems
from gainrl.datasets.contradictions import contradicted
from gainrl.datasets.splits import DataSplits
from gainrl.datasets.template_by_source import BoundBySource
from gainrl.datasets.templates import BoundPrompts
from gainrl.types import ProblemSet, PromptTokens

_EXAMPLES = 3
_CONTRADICTED = "questions with contradicting answers"
# Nothing that a reader would see: spaces, marks without width, control characters, and two letters that show nothing.
_INVISIBLE = r"[\p{Z}\p{C}\x{3164}\x{2800}]+"
_SHORT = 24  # letters and digits, below which signs of arithmetic may be all that tells two problems apart


class Encoder(Protocol):
    """A bound prompt template, as far as its lengths matter."""

    def encode_all(self, questions: Sequence[str]) -> list[PromptTokens]: ...


@dataclass(frozen=True, slots=True)
class Finding:
    """``count`` problems of a set that share a fault, the rule applied to them, and the ids of the first few."""

    problems: str
    fault: str
    count: int
    rule: str
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        ids = f" ({', '.join(self.examples)}{', ...' if self.count > len(self.examples) else ''})"
        return f"{self.problems}: {self.count} {self.fault}{ids if self.examples else ''}: {self.rule}"


def clean(
    splits: DataSplits, *, evaluation: Sequence[ProblemSet] = (), keep_disputed: bool = False
) -> tuple[DataSplits, list[Finding]]:
    """The splits without faulty problems, and one finding for each fault that occurs.

    Both parts lose repeated ids, blank questions and, unless no problem has one, problems without anything to judge
    by. The training pool also loses problems whose text occurs in the held-out part or in an ``evaluation`` set and,
    unless ``keep_disputed``, problems whose sources give different answers and questions that are asked again with a
    contradicting answer (`contradictions`), which the held-out part keeps. Raises ValueError if nothing is left.
    """
    findings: list[Finding] = []
    train = None if splits.train is None else _sound(splits.train, findings)
    held_out = None if splits.held_out is None else _sound(splits.held_out, findings)
    if held_out is not None:
        _report(held_out, contradicted(held_out), _CONTRADICTED, "kept, though one answer of each is wrong", findings)
    if train is not None:
        protected = [problems for problems in (held_out, *evaluation) if problems is not None]
        if not keep_disputed:
            train = _drop(train, _disputed(train), "disputed answers", "left out", findings)
            train = _drop(train, contradicted(train), _CONTRADICTED, "left out", findings)
        train = _drop(train, _occurs(train, protected), "problems of an evaluation set", "left out", findings)
    return replace(splits, train=train, held_out=held_out), findings


def drop_long(
    problems: ProblemSet, template: Encoder | BoundPrompts, *, max_prompt_tokens: int
) -> tuple[ArrowProblems, Finding | None]:
    """The problems whose whole prompt has at most ``max_prompt_tokens`` tokens, and what was left out.

    A text has no more tokens than bytes, so that only questions with many bytes are tokenised.
    Raises ValueError if the template alone is longer, or if nothing is left.
    """
    problems = arrow_problems(problems)
    long = np.zeros(len(problems), bool)
    for encoder, mine in _by_template(template, problems):
        long |= mine & _flags(problems, "question", _longer(encoder, max_prompt_tokens))
    findings: list[Finding] = []
    kept = _drop(problems, long, f"prompts of more than {max_prompt_tokens} tokens", "left out", findings)
    return kept, findings[0] if findings else None


def _by_template(template: Encoder | BoundPrompts, problems: ArrowProblems) -> list[tuple[Encoder, np.ndarray]]:
    """Each template with the problems (``[N]`` bool) that it renders."""
    if not isinstance(template, BoundBySource):
        return [(cast("Encoder", template), np.ones(len(problems), bool))]
    sources = problems.column("source")
    names = np.array([""] * len(problems) if sources is None else [str(one).rpartition("/")[2] for one in sources])
    found: dict[int, tuple[Encoder, np.ndarray]] = {}
    for name in dict.fromkeys(names.tolist()):
        encoder = template.of(name)
        _, mine = found.get(id(encoder), (encoder, np.zeros(len(names), bool)))
        found[id(encoder)] = encoder, mine | (names == name)
    return list(found.values())


def _longer(template: Encoder, max_prompt_tokens: int) -> Callable[[pa.Array], pa.Array]:
    """Which questions of a batch make prompts that are too long."""
    around = len(template.encode_all(["?"])[0]) - 1
    if around >= max_prompt_tokens:
        raise ValueError(
            f"max_prompt_tokens={max_prompt_tokens} leaves no room for a question: the prompt template alone has "
            f"{around} tokens; use more, or a shorter template"
        )
    room = max_prompt_tokens - around

    def too_long(batch: pa.Array) -> pa.Array:
        flags = pc.greater(pc.binary_length(batch), room).to_numpy(zero_copy_only=False).copy()
        flags &= ~pc.equal(pc.utf8_trim_whitespace(batch), "").to_numpy(zero_copy_only=False)
        doubtful = np.flatnonzero(flags)
        prompts = template.encode_all(batch.take(pa.array(doubtful)).to_pylist())
        flags[doubtful] = [len(prompt) > max_prompt_tokens for prompt in prompts]
        return pa.array(flags)

    return too_long


def evaluable(
    problems: ProblemSet, template: Encoder | BoundPrompts, *, max_prompt_tokens: int | None
) -> tuple[ArrowProblems, list[Finding]]:
    """The sound problems of an evaluation set that fit the model, and what was left out of it.

    ``max_prompt_tokens`` is None for a model without a limit. Raises ValueError if nothing is left.
    """
    findings: list[Finding] = []
    kept = _sound(problems, findings)
    if max_prompt_tokens is not None:
        kept, long = drop_long(kept, template, max_prompt_tokens=max_prompt_tokens)
        findings += [long] if long else []
    return kept, findings


def arrow_problems(problems: ProblemSet) -> ArrowProblems:
    """The problems themselves if they are Arrow's already, a copy in memory otherwise."""
    return (
        problems if isinstance(problems, ArrowProblems) else ArrowProblems.from_problems(problems, name=problems.name)
    )


def normalised(texts: pa.Array) -> pa.Array:
    """Texts in lower case, letters and digits only; short ones keep their signs, or ``2 + 3`` would be ``2 - 3``."""
    lower = pc.utf8_lower(texts)
    plain = pc.replace_substring_regex(lower, r"[^\p{L}\p{N}]+", "")
    signed = pc.replace_substring_regex(lower, r"[^\p{L}\p{N}\p{Sm}-]+", "")
    return pc.if_else(pc.less(pc.utf8_length(plain), _SHORT), signed, plain)


def _sound(problems: ProblemSet, findings: list[Finding]) -> ArrowProblems:
    kept = arrow_problems(problems)
    kept = _drop(kept, _repeated(kept), "repeated ids", "the first of each is kept", findings)
    kept = _drop(kept, _blank(kept, "question"), "blank questions", "left out", findings)
    unjudged = _blank(kept, "reference_answer") & ~_has_field(kept, "tests") & ~_has_field(kept, "entry")
    if unjudged.all() and len(kept):
        findings.append(Finding(kept.name, "problems without an answer", len(kept), "kept, as no problem has one"))
        return kept
    return _drop(kept, unjudged, "problems without an answer", "left out", findings)


def _drop(problems: ArrowProblems, bad: np.ndarray, fault: str, rule: str, findings: list[Finding]) -> ArrowProblems:
    _report(problems, bad, fault, rule, findings)
    if not bad.any():
        return problems
    if bad.all():
        raise ValueError(f"nothing of {problems.name} is left: {findings[-1]}")
    return problems.select(np.flatnonzero(~bad))


def _report(problems: ArrowProblems, bad: np.ndarray, fault: str, rule: str, findings: list[Finding]) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        ids = problems.arrow("id")
        examples = tuple(ids[int(row)].as_py() for row in rows[:_EXAMPLES])
        findings.append(Finding(problems.name, fault, int(rows.size), rule, examples))


def _repeated(problems: ArrowProblems) -> np.ndarray:
    ids = problems.arrow("id")
    repeated = np.zeros(len(problems), dtype=bool)
    if pc.count_distinct(ids).as_py() < len(ids):
        repeated[:] = True
        repeated[np.unique(ids.to_numpy().astype(str), return_index=True)[1]] = False
    return repeated


def _blank(problems: ArrowProblems, column: str) -> np.ndarray:
    return _flags(problems, column, lambda texts: pc.equal(pc.replace_substring_regex(texts, _INVISIBLE, ""), ""))


def _has_field(problems: ArrowProblems, name: str) -> np.ndarray:
    return _flags(problems, "extra", lambda texts: pc.match_substring(texts.fill_null(""), f'"{name}":'))


def _disputed(problems: ArrowProblems) -> np.ndarray:
    return _has_field(problems, "alt_answers")


def _occurs(problems: ArrowProblems, others: Sequence[ProblemSet]) -> np.ndarray:
    texts = [normalised(batch) for other in others for batch in arrow_problems(other).batches("question")]
    known = pa.chunked_array(texts, pa.string())
    return _flags(problems, "question", lambda batch: pc.is_in(normalised(batch), value_set=known))


def _flags(problems: ArrowProblems, column: str, test: Callable[[pa.Array], pa.Array]) -> np.ndarray:
    """``[N]`` bool: the result of ``test`` on a column, piece by piece."""
    flags = [test(batch).to_numpy(zero_copy_only=False) for batch in problems.batches(column)]
    return np.concatenate([np.zeros(0, dtype=bool), *flags])
