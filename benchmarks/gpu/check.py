"""What a check is, what it gets and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from gainrl.app.fits import qwen


@dataclass(slots=True)
class Setting:
    """Where the checks run. ``smoke``: at sizes without meaning, in seconds, on any machine.

    ``peer``: the interpreter of an environment that holds TRL, or None. ``kept``: what one check leaves for another.
    """

    folder: Path
    smoke: bool
    peer: str | None = None
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def cuda(self) -> bool:
        return not self.smoke and torch.cuda.is_available()

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if self.cuda else "cpu")

    @property
    def accelerator(self) -> str:
        return "gpu" if self.cuda else "cpu"

    def size(self, full: int, smoke: int) -> int:
        return smoke if self.smoke else full

    def model(self, *, layers: int | None = None) -> Any:
        """The shape of Qwen2.5-0.5B with random weights in float32; in the smoke form a small one."""
        config = _SMALL if self.smoke else qwen("0.5B")
        if layers is not None:
            config = Qwen2Config(**config.to_dict() | {"num_hidden_layers": layers, "layer_types": None})
        torch.manual_seed(0)
        with self.device:
            return Qwen2ForCausalLM(config).train()

    @property
    def vocabulary(self) -> int:
        return (_SMALL if self.smoke else qwen("0.5B")).vocab_size


_SMALL = Qwen2Config(
    vocab_size=320,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=512,
)


@dataclass(slots=True)
class Outcome:
    """``figures`` by their names; ``passed``: None where a check gives figures only; ``table``: lines of Markdown."""

    figures: dict[str, str]
    passed: bool | None = None
    table: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Check:
    """``bar``: what it passes at, in words; ``seconds``: about how long it takes on a GPU, counted and not measured."""

    number: int
    title: str
    bar: str
    run: Callable[[Setting], Outcome]
    seconds: int


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
