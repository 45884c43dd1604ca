r"""Where a completion stops thinking and starts to answer: one rule for every reward and for the prompt.

Some models write their reasoning between ``<think>`` and ``</think>`` before they answer. Of these, some write both
tags (Qwen3), and others find the opening tag at the end of their prompt and write the closing one only (DeepSeek-R1,
arXiv 2501.12948). A judge that does not know which is which rewards a guess in the middle of a thought.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

ThinkingMode = Literal["none", "optional", "required"]
MODES: tuple[ThinkingMode, ...] = ("none", "optional", "required")
TAG = re.compile(r"<(/?)(?:think|thinking|thought)>", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """Whether completions think before they answer, and who opens the thinking part.

    ``mode``: with ``none``, tags are ordinary text. With ``optional``, text inside a thinking part never counts; a part
    that is never closed runs to the end, and a closing tag alone ends a part that began at the start. With
    ``required``, nothing counts unless a part with text in it was closed. ``opened``: the prompt ends in the opening
    tag, so that every completion starts inside a thinking part. Raises ValueError for another mode, and for a part
    that is opened where there is none.
    """

    mode: ThinkingMode = "optional"
    opened: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(
                f"thinking={self.mode!r} is not a rule for thinking. Use one of: {', '.join(MODES)} "
                "(template.thinking sets it for the prompt and every reward)."
            )
        if not isinstance(self.opened, bool):
            raise ValueError(
                f"opens_thinking={self.opened!r} is neither true nor false. Type template.opens_thinking=true where "
                "prompts end in <think>, else template.opens_thinking=false."
            )
        if self.opened and self.mode == "none":
            raise ValueError(
                "thinking=none contradicts a prompt that opens a thinking part. Type template.thinking=required, or "
                "use a prompt without <think> and type template.opens_thinking=false."
            )

    def answer_part(self, completion: str) -> str:
        """The text of a completion that may hold its answer; empty where it never stopped thinking."""
        if self.mode == "none":
            return completion
        required = self.mode == "required"
        if "<" not in completion:
            return "" if required or self.opened else completion
        kept: list[str] = []
        start, thinking, thought = 0, self.opened, False
        for tag in TAG.finditer(completion):
            if tag.group(1):
                if not thinking:
                    kept.clear()
                thought |= thinking and bool(TAG.sub("", completion[start : tag.start()]).strip())
                start, thinking = tag.end(), False
            elif not thinking:
                kept.append(completion[start : tag.start()])
                start, thinking = tag.end(), True
        if not thinking:
            kept.append(completion[start:])
        if required and not thought:
            return ""
        return "\n".join(part for part in kept if part)


def opens_thinking(prompt: str) -> bool:
    """Whether a prompt ends inside a thinking part, so that its completion starts there."""
    tags = list(TAG.finditer(prompt))
    return bool(tags) and not tags[-1].group(1) and not prompt[tags[-1].end() :].strip()
