"""Prompt templates: from a question to token ids, with the token spans of system text, worked example and question.

A `PromptTemplate` holds text only. Bound to a tokenizer it renders every prompt with the model's own chat template
(or as plain text) and finds the spans in what was really rendered, through the tokenizer's offsets: no span is a
constant of one model's template, which is what made the published score wrong for other models than Qwen2.5
(GAIN-RL, arXiv 2506.02281, reference code).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from gainrl.datasets.bound_template import BoundTemplate
from gainrl.functional.thinking import Thinking, ThinkingMode
from gainrl.types import Problem, PromptTokens

__all__ = ["BoundPrompts", "BoundTemplate", "PromptTemplate"]

# Llama 3 templates print today's date unless they are given one: prompts must not change overnight.
_CHAT_ARGUMENTS = {"date_string": "26 Jul 2024"}


class BoundPrompts(Protocol):
    """What renders problems on one tokenizer: a `BoundTemplate`, or one for each source (`template_by_source`).

    ``prefix_ids``: the tokens with which every prompt begins. ``fingerprint`` changes with anything that changes one.
    """

    prefix_ids: tuple[int, ...]
    fingerprint: str

    def encode_problems(self, problems: Sequence[Problem]) -> list[PromptTokens]: ...


class PromptTemplate:
    """The text around a question.

    ``system``: system text or None. ``example``: a worked example with ``question`` and ``answer``, shown as a user
    and an assistant turn, or None. ``instruction``: text that follows every question after a line break.
    ``chat``: ``required`` renders with the tokenizer's chat template and refuses a tokenizer without one, ``auto``
    falls back to plain text, ``plain`` never uses it. ``plain_form`` is the plain text of a question;
    ``chat_arguments`` go to the chat template (such as ``enable_thinking``).

    ``thinking`` says whether completions think before they answer (`functional.thinking.Thinking`), and
    ``opens_thinking`` that the rendered prompt ends in ``<think>``. Neither changes the prompt: the rewards read them
    from here, so that prompt and judge cannot disagree.

    Raises ValueError for an unknown ``chat`` or ``thinking``, an incomplete ``example``, a ``plain_form`` without
    ``{question}``, and a prompt that opens a thinking part where ``thinking`` is ``none``.
    """

    def __init__(
        self,
        *,
        system: str | None = None,
        example: Mapping[str, str] | None = None,
        instruction: str = "",
        chat: Literal["auto", "required", "plain"] = "required",
        plain_form: str = "Question:\n{question}\n\nAnswer:\n",
        chat_arguments: Mapping[str, Any] | None = None,
        thinking: ThinkingMode = "optional",
        opens_thinking: bool = False,
    ) -> None:
        if chat not in ("auto", "required", "plain"):
            raise ValueError(f"chat={chat!r} is not a way to render prompts; use 'auto', 'required' or 'plain'")
        if example is not None and not (
            set(example) == {"question", "answer"} and all(map(str.strip, example.values()))
        ):
            raise ValueError(
                f"example={dict(example)!r} is not a worked example; give both a 'question' and an 'answer', "
                "or example=null for none"
            )
        if plain_form.count("{question}") != 1:
            raise ValueError(
                f"plain_form={plain_form!r} must contain '{{question}}' exactly once; "
                r"for example 'Question:\n{question}\n\nAnswer:\n'"
            )
        self.system = system.strip() if system and system.strip() else None
        self.example = {key: example[key].strip() for key in ("question", "answer")} if example is not None else None
        self.instruction = instruction.strip()
        self.chat = chat
        self.plain_form = plain_form
        self.thinking = Thinking(mode=thinking, opened=opens_thinking)
        self.chat_arguments = {**_CHAT_ARGUMENTS, **(chat_arguments or {})}

    def bind(self, tokenizer: Any) -> BoundTemplate:
        """This template on a tokenizer of the transformers library.

        Raises ValueError if the tokenizer reports no offsets, or lacks the chat template that ``chat`` requires.
        """
        return BoundTemplate(self, tokenizer)

    def user_text(self, question: str) -> str:
        return f"{question}\n{self.instruction}" if self.instruction else question

    def plain_text(self, question: str) -> str:
        parts = [self.system] if self.system else []
        if self.example:
            parts.append(self._plain_turn(self.example["question"]) + self.example["answer"])
        return "\n\n".join([*parts, self._plain_turn(question)])

    def messages(self, question: str, *, system_role: bool) -> list[dict[str, str]]:
        """The conversation up to the answer; without a system role the system text opens the first user turn."""
        turns = []
        if self.example:
            turns.append({"role": "user", "content": self.user_text(self.example["question"])})
            turns.append({"role": "assistant", "content": self.example["answer"]})
        turns.append({"role": "user", "content": self.user_text(question)})
        if self.system and system_role:
            return [{"role": "system", "content": self.system}, *turns]
        if self.system:
            turns[0]["content"] = f"{self.system}\n\n{turns[0]['content']}"
        return turns

    def _plain_turn(self, question: str) -> str:
        return self.plain_form.replace("{question}", self.user_text(question))
