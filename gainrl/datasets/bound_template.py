"""A prompt template on one tokenizer: every prompt rendered, tokenised, and its segments located.

Conventions:

1. A token that lies across an edge of the question counts as question.
2. ``system`` reaches to the worked example and ``example`` to the question; the marks of the turns belong to what
   comes before them. Marks before the question of a template that has neither are in no segment.
3. ``closing`` is all that follows the question: the instruction, the end of the turn, the head of the answer.
4. Where a chat template knows no system role, the system text opens the first user turn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gainrl.functional.thinking import opens_thinking
from gainrl.types import Problem, PromptTokens

if TYPE_CHECKING:
    from gainrl.datasets.templates import PromptTemplate

_BATCH = 1024
_PROBES = ("Why?", "0 of 9", "$x$ is it")


class BoundTemplate:
    """A prompt template on one tokenizer.

    ``prefix_text`` and ``closing_text`` are what surrounds every question, ``prefix_ids`` the tokens before it.
    ``fingerprint`` changes with the texts, the chat template and everything that defines the tokenizer.
    """

    def __init__(self, template: PromptTemplate, tokenizer: Any) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                f"{type(tokenizer).__name__} does not report where its tokens lie in the text; "
                "save the model with a fast tokenizer (a folder that holds tokenizer.json)"
            )
        has_chat = bool(getattr(tokenizer, "chat_template", None))
        if template.chat == "required" and not has_chat:
            raise ValueError(
                f"the tokenizer of {tokenizer.name_or_path or 'this model'!r} has no chat template, and the prompt "
                "template requires one; use template=plain (or template.chat=plain), or give the model a chat "
                "template with model.chat_template=<file>"
            )
        self.template = template
        self.tokenizer = tokenizer
        self.chat = has_chat and template.chat != "plain"
        self._system_role = self.chat and self._knows_system_role()
        self.prefix_text, self.closing_text = self._surroundings()
        self._check_thinking()
        self._edges = self._prefix_edges()
        self.prefix_ids, self._segments = self._measure_prefix()
        self.fingerprint = _fingerprint(template, tokenizer, self.prefix_text, self.closing_text)

    def encode(self, question: str) -> PromptTokens:
        """The tokens of one prompt; raises ValueError for a blank question."""
        return self.encode_all([question])[0]

    def encode_all(self, questions: Sequence[str]) -> list[PromptTokens]:
        """The tokens of many prompts, rendered and tokenised in batches."""
        encoded: list[PromptTokens] = []
        for start in range(0, len(questions), _BATCH):
            encoded.extend(self._encode_batch([question.strip() for question in questions[start : start + _BATCH]]))
        return encoded

    def encode_problems(self, problems: Sequence[Problem]) -> list[PromptTokens]:
        """The tokens of each problem's prompt."""
        return self.encode_all([problem.question for problem in problems])

    def _encode_batch(self, questions: list[str]) -> list[PromptTokens]:
        if not all(questions):
            raise ValueError("a question is blank, so that no prompt can be made of it; drop such rows first")
        texts = self._render(questions)
        for question, text in zip(questions, texts, strict=True):
            if not (text.startswith(self.prefix_text) and text.endswith(self.closing_text)):
                raise ValueError(f"the chat template changes the text around this question: {question[:80]!r}")
        encoding = self._tokenize(texts)
        offsets = encoding["offset_mapping"]
        return [
            self._locate(ids, np.asarray(spans, np.int64).reshape(-1, 2), len(text))
            for ids, spans, text in zip(encoding["input_ids"], offsets, texts, strict=True)
        ]

    def _locate(self, ids: list[int], spans: np.ndarray, length: int) -> PromptTokens:
        if not self.chat:  # an end mark that the tokenizer appends would tell the model that it has finished
            while len(ids) > 1 and spans[len(ids) - 1, 1] == 0:
                ids = ids[:-1]
            spans = spans[: len(ids)]
        begin = _first(spans[:, 1] > len(self.prefix_text), 0)
        end = _first(spans[:, 0] >= length - len(self.closing_text), begin)
        if tuple(ids[:begin]) != self.prefix_ids:
            question = self.tokenizer.decode(ids[begin:end])
            raise ValueError(
                f"the tokenizer merges the text before the question with this question: {question[:80]!r}; "
                "let the text before a question end in a line break"
            )
        segments = {**self._segments, "question": (begin, end)}
        if end < len(ids):
            segments["closing"] = (end, len(ids))
        return PromptTokens(tuple(ids), segments)

    def _render(self, questions: Sequence[str]) -> list[str]:
        if not self.chat:
            return [self.template.plain_text(question) for question in questions]
        messages = [self.template.messages(question, system_role=self._system_role) for question in questions]
        try:
            return self._render_chat(messages)
        except Exception as fault:  # a chat template is a program of its own
            raise ValueError(
                f"the chat template fails on a plain conversation ({type(fault).__name__}: {str(fault)[:300]}); "
                "correct the file of model.chat_template, or use template.chat=plain"
            ) from fault

    def _render_chat(self, conversations: list[list[dict[str, str]]], *, answer_next: bool = True) -> list[str]:
        return self.tokenizer.apply_chat_template(
            conversations, tokenize=False, add_generation_prompt=answer_next, **self.template.chat_arguments
        )

    def _tokenize(self, texts: list[str]) -> Any:
        # A chat template writes the begin mark itself; a second one from the tokenizer would be wrong.
        return self.tokenizer(
            texts, add_special_tokens=not self.chat, return_offsets_mapping=True, padding=False, truncation=False
        )

    def _knows_system_role(self) -> bool:
        if self.template.system is None:
            return True
        try:
            text = self._render_chat([self.template.messages(_PROBES[0], system_role=True)])[0]
        except Exception:  # a template that fails in other ways fails without a system text too
            return False
        return self.template.system in text

    def _surroundings(self) -> tuple[str, str]:
        texts = self._render(_PROBES)
        before = _common_start(texts)
        after = _common_start([text[len(before) :][::-1] for text in texts])[::-1]
        if any(text != f"{before}{probe}{after}" for probe, text in zip(_PROBES, texts, strict=True)):
            raise ValueError("the chat template does not show the question word by word, so its tokens cannot be found")
        return before, after

    def _check_thinking(self) -> None:
        """Raises ValueError where the settings of the judges contradict the prompt."""
        declared, shown = self.template.thinking.opened, opens_thinking(self.closing_text)
        if shown and not declared:
            advice = (
                "type template.opens_thinking=true template.thinking=required, or turn thinking off in the chat "
                "template (template.chat_arguments.enable_thinking=false where it knows this argument)"
            )
            raise ValueError(f"every prompt ends in an opened thinking part ({self.closing_text[-40:]!r}): {advice}")
        if declared and not shown:
            raise ValueError(
                f"template.opens_thinking=true, but prompts end in {self.closing_text[-40:]!r}, which opens no "
                "thinking part: type template.opens_thinking=false, or let the chat template "
                "(model.chat_template=<file>) or template.plain_form end in <think>"
            )

    def _prefix_edges(self) -> dict[str, int]:
        """Where ``system`` and ``example`` end, in characters of the prefix."""
        template, text = self.template, self.prefix_text
        if template.example is None:
            return {"system": len(text)} if template.system else {}
        if template.system is None:
            return {"example": len(text)}
        return {"system": self._system_end(template.system), "example": len(text)}

    def _system_end(self, system: str) -> int:
        if self._system_role:
            try:
                alone = self._render_chat([[{"role": "system", "content": system}]], answer_next=False)[0]
            except Exception:  # some templates refuse a conversation without a user
                alone = ""
            if alone and self.prefix_text.startswith(alone):
                return len(alone)
        return self.prefix_text.index(system) + len(system)

    def _measure_prefix(self) -> tuple[tuple[int, ...], dict[str, tuple[int, int]]]:
        encoding = self._tokenize(self._render(_PROBES[:1]))
        ids, spans = encoding["input_ids"][0], np.asarray(encoding["offset_mapping"][0], np.int64).reshape(-1, 2)
        begin = _first(spans[:, 1] > len(self.prefix_text), 0)
        segments, start = {}, 0
        for name, edge in self._edges.items():
            stop = begin if edge == len(self.prefix_text) else min(_first(spans[:, 1] > edge, start), begin)
            segments[name] = (start, stop)
            start = stop
        return tuple(ids[:begin]), segments


def _common_start(texts: Sequence[str]) -> str:
    same = [len(set(column)) == 1 for column in zip(*texts, strict=False)]
    return texts[0][: same.index(False)] if False in same else texts[0][: len(same)]


def _first(flags: np.ndarray, start: int) -> int:
    """Index of the first True at or after ``start``; the length if all are False."""
    hits = np.flatnonzero(flags[start:])
    return start + int(hits[0]) if hits.size else len(flags)


def _fingerprint(template: PromptTemplate, tokenizer: Any, prefix_text: str, closing_text: str) -> str:
    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    for state in ("padding", "truncation"):  # changed by every call of the tokenizer; no part of its definition
        definition.pop(state, None)
    # How completions are read is not part of the prompt: signals and warm starts stay as they are.
    texts = {name: value for name, value in vars(template).items() if name != "thinking"}
    parts = [texts, tokenizer.chat_template, prefix_text, closing_text, definition]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
