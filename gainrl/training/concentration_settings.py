"""What is measured of the prompts that train: by default the concentration that orders them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from gainrl.signals.activations import Activation
from gainrl.signals.angle import AngleSignal

Tokens = Literal["prompt", "prompt_and_completion"]


_OF_ANGLE = ("intra", "inter", "layer", "activation", "diagonal")


@dataclass(frozen=True, slots=True)
class Concentration:
    """What is measured of the prompts that train: the concentration of ``angle``.

    ``with_completions``: the mean cosine over prompt and completion as one segment, as released, in place of the terms
    of the prompt. ``typed_at``: the node of the configuration that holds the settings of ``angle``.
    """

    angle: AngleSignal = field(default_factory=AngleSignal)
    with_completions: bool = False
    typed_at: str = "concentration"


@dataclass(frozen=True, kw_only=True, slots=True)
class ConcentrationSettings:
    """``tokens``: ``prompt``, or ``prompt_and_completion`` as released.

    With ``follow_signal``, terms, layer, activation and diagonal are those of the signal that orders the prompts, as
    far as it is an angle: None takes its value, and another value than its own is refused. Without it, or with another
    signal, None takes the published value. Raises ValueError for unknown tokens and for terms that would do nothing.
    """

    tokens: Tokens = "prompt"
    follow_signal: bool = True
    intra: float | None = None
    inter: float | None = None
    layer: int | float | None = None
    activation: Activation | None = None
    diagonal: bool | None = None

    def __post_init__(self) -> None:
        if self.tokens not in get_args(Tokens):
            raise ValueError(f"concentration.tokens={self.tokens!r} is unknown; use {' or '.join(get_args(Tokens))}")
        terms = {"intra": self.intra, "inter": self.inter}
        idle = [f"concentration.{name}={weight}" for name, weight in terms.items() if weight not in (None, 1)]
        if idle and self.tokens == "prompt_and_completion":
            raise ValueError(
                f"{', '.join(idle)} would do nothing: concentration.tokens=prompt_and_completion measures prompt and "
                "completion as one segment, without terms; leave the weights out, or type concentration.tokens=prompt"
            )

    def of(self, signal: Any) -> Concentration:
        """The concentration to measure beside ``signal`` (None: a run without one); ValueError if they contradict."""
        typed = {name: value for name in _OF_ANGLE if (value := getattr(self, name)) is not None}
        angle, path = _angle_of(signal) if self.follow_signal else (None, "")
        if angle is None:
            return Concentration(AngleSignal(**typed), self.tokens == "prompt_and_completion", "concentration")
        for name, value in typed.items():
            own = getattr(angle, name)
            if value != own:
                raise ValueError(
                    f"concentration.{name}={value} contradicts {path}.{name}={own}: one concentration would order the "
                    f"prompts and another move the window. Type {path}.{name}={value} and leave concentration.{name} "
                    "out, or type concentration.follow_signal=false to measure another one on purpose"
                )
        return Concentration(angle, self.tokens == "prompt_and_completion", path)


def _angle_of(signal: Any, path: str = "signal") -> tuple[AngleSignal | None, str]:
    """The angle that a signal is, or is derived from, and where its settings are typed."""
    if isinstance(signal, AngleSignal):
        return signal, path
    base = getattr(signal, "base", None)
    return (None, path) if base is None else _angle_of(base, f"{path}.base")
