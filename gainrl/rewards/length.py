r"""The soft penalty on overlong completions of DAPO (arXiv 2503.14476, equation 13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gainrl.types import Judgement, Problem, Verdict


class LengthReward:
    r"""0 up to a length, then a linear penalty down to -1 at ``max_length`` and beyond.

    With :math:`L` = ``max_length``, :math:`C` = ``soft_zone``::

        0                        if length <= L - C
        ((L - C) - length) / C   if L - C < length <= L
        -1                       if length > L

    ``unit``: ``tokens`` (the trainer passes ``lengths``, stop token included) or ``characters`` (counted here).
    The judgement is correct where nothing is deducted, else wrong: it says nothing about the answer.
    Raises ValueError unless ``0 < soft_zone <= max_length``.
    """

    def __init__(self, *, max_length: int, soft_zone: int, unit: Literal["tokens", "characters"] = "tokens") -> None:
        for name, value in (("max_length", max_length), ("soft_zone", soft_zone)):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"{name}={value} is not a number of tokens or characters. Give a whole number.")
        if not 0 < soft_zone <= max_length:
            raise ValueError(
                f"soft_zone={soft_zone} must lie in 1..max_length={max_length}: it is the part of max_length over "
                "which the penalty grows. DAPO uses max_length=20480 and soft_zone=4096."
            )
        if unit not in ("tokens", "characters"):
            raise ValueError(f"unit={unit!r} is not a unit of length. Use unit=tokens or unit=characters.")
        self.max_length = max_length
        self.soft_zone = soft_zone
        self.unit = unit

    @property
    def uses_lengths(self) -> bool:
        """Whether `score` needs the token counts of the completions."""
        return self.unit == "tokens"

    def score(
        self, completions: Sequence[str], problems: Sequence[Problem], *, lengths: Sequence[int] | None = None
    ) -> list[Verdict]:
        """One verdict per completion; ``lengths[i]`` is the token count of ``completions[i]``.

        Raises ValueError where the unit is tokens and the counts are missing.
        """
        if self.unit == "characters":
            lengths = [len(completion) for completion in completions]
        elif lengths is None:
            raise ValueError("LengthReward counts tokens, but got no lengths. Pass lengths, or use unit=characters.")
        return [self._judge(int(length)) for _, length in zip(completions, lengths, strict=True)]

    def _judge(self, length: int) -> Verdict:
        over = length - (self.max_length - self.soft_zone)
        penalty = -min(1.0, max(0.0, over / self.soft_zone))
        judgement = Judgement.WRONG if penalty < 0 else Judgement.CORRECT
        return Verdict(judgement, penalty + 0.0, detail=f"{length} {self.unit}")
