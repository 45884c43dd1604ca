"""The reward for keeping to the answer format: a boxed answer, and a thinking part where one is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from gainrl.functional.thinking import TAG, Thinking, ThinkingMode
from gainrl.rewards.extraction import final_answer
from gainrl.types import Judgement, Problem, Verdict


class FormatReward:
    r"""1 for a completion in the wanted format, else 0; says nothing about whether the answer is right.

    ``box``: a complete ``\boxed{}`` with something in it must stand outside the thinking part. ``thinking``: whether
    one thinking part (``<think>...</think>``) at the start is forbidden (``none``), ``optional`` or ``required``; a
    second part, one that is never closed and an empty one never fit. ``prompt_opens_thinking``: the prompt ends in the
    opening tag, so that the completion holds the closing tag only. The judgement is correct or wrong as to format.
    Raises ValueError for other settings.
    """

    def __init__(
        self, *, box: bool = True, thinking: ThinkingMode = "optional", prompt_opens_thinking: bool = False
    ) -> None:
        self.box = box
        self.thinking = Thinking(mode=thinking, opened=prompt_opens_thinking)

    def score(self, completions: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        """One verdict per completion."""
        return [self._judge(completion) for completion in completions]

    def _judge(self, completion: str) -> Verdict:
        fault = self._thinking_fault(completion) or self._box_fault(completion)
        if fault:
            return Verdict(Judgement.WRONG, 0.0, detail=fault)
        return Verdict(Judgement.CORRECT, 1.0)

    def _thinking_fault(self, completion: str) -> str:
        tags = list(TAG.finditer(completion))
        if not tags and not self.thinking.opened:
            return "no thinking part" if self.thinking.mode == "required" else ""
        if self.thinking.mode == "none":
            return "a thinking part, which is not allowed"
        if not self.thinking.opened:
            if tags[0].group(1) or completion[: tags[0].start()].strip():
                return "not exactly one thinking part at the start"
            start = tags.pop(0).end()
        else:
            start = 0
        if len(tags) != 1 or not tags[0].group(1):
            return "not exactly one thinking part at the start"
        if not completion[start : tags[0].start()].strip() or not completion[tags[0].end() :].strip():
            return "nothing inside or nothing after the thinking part"
        return ""

    def _box_fault(self, completion: str) -> str:
        if not self.box:
            return ""
        answer = final_answer(completion, thinking=self.thinking)
        return "" if answer is not None and answer.rule == "box" else "no boxed answer"
