"""Where in a transformers causal language model the hidden states are read.

``mlp_input`` is what enters the MLP of a block (the output of the norm before it), the activation of the reference
release; ``block_output`` is the residual stream behind a block; ``final_norm`` what enters the language model head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor, nn

Activation = Literal["mlp_input", "block_output", "final_norm"]


@dataclass(frozen=True, slots=True)
class Tap:
    """One activation of one block. ``layer``: an index (negative from the end) or a relative depth in (0, 1]."""

    activation: Activation = "mlp_input"
    layer: int | float = -1

    def __post_init__(self) -> None:
        if self.activation not in get_args(Activation):
            raise ValueError(
                f"activation={self.activation!r} is not one of the activations that can be read; "
                f"use signal.activation= one of {', '.join(get_args(Activation))}."
            )
        if isinstance(self.layer, float) and not 0.0 < self.layer <= 1.0:
            raise ValueError(
                f"layer={self.layer} is a float and so a relative depth, which must lie in (0, 1]; "
                "use signal.layer=1.0 for the last block, or an integer index."
            )
        if self.activation == "final_norm" and self.layer not in (-1, 1.0):
            raise ValueError(
                f"layer={self.layer} with activation=final_norm: the final norm stands behind the last block only; "
                "use signal.layer=-1, or signal.activation=block_output."
            )


def decoder_and_blocks(model: nn.Module) -> tuple[nn.Module, nn.ModuleList]:
    """The module that holds the blocks (and maps tokens to final states), and the blocks, in order.

    Raises ValueError if the model has no list of ``num_hidden_layers`` blocks.
    """
    config: Any = model.config
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
    depth = text_config.num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth and name.rsplit(".", 1)[-1] in _BLOCK_LISTS:
            return model.get_submodule(name.rpartition(".")[0]), module
    raise ValueError(
        f"{type(model).__name__} has no list of {depth} blocks named {' or '.join(_BLOCK_LISTS)}, so its hidden states "
        "cannot be read; use a decoder-only model from transformers, or a signal without a model (signal=length)."
    )


_BLOCK_LISTS = ("layers", "h", "blocks")


def block_index(layer: int | float, depth: int) -> int:
    """The index in ``range(depth)`` of an index or relative depth; depth 0.5 of 4 blocks is block 1, 1.0 the last."""
    if isinstance(layer, float):
        return max(int(-(-layer * depth // 1)) - 1, 0)
    if not -depth <= layer < depth:
        raise ValueError(
            f"layer={layer} but the model has {depth} blocks; use signal.layer from {-depth} to {depth - 1}, "
            "or a relative depth such as 0.5."
        )
    return layer % depth


class evaluating:
    """Dropout off within the block, and each module back in the mode it had."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def __enter__(self) -> None:
        self._training = [module for module in self._model.modules() if module.training]
        self._model.eval()

    def __exit__(self, *exception: object) -> None:
        for module in self._training:
            module.training = True


class _Reached(Exception):
    """Raised by the hook of the furthest tap, to leave the forward there."""


@contextmanager
def tapped(model: nn.Module, taps: Sequence[Tap], *, stop: bool = False) -> Iterator[dict[Tap, Tensor]]:
    """Within the block, every forward of ``model`` leaves the activations of ``taps`` (``[P, T, D]``) in the dict.

    ``stop`` ends the block, without an error, as soon as the furthest tap is read: nothing behind it is computed. It
    is ignored where a module waits for the end of its own forward, as sharded and offloaded models do.
    """
    decoder, blocks = decoder_and_blocks(model)
    stop = stop and bool(taps) and not any(_waits(module) for module in (model, decoder, *blocks))
    furthest = max(taps, key=lambda tap: _order(tap, len(blocks)), default=None)
    states: dict[Tap, Tensor] = {}
    handles = []
    try:
        for tap in dict.fromkeys(taps):
            handles.append(_attach(tap, model, decoder, blocks, states, stop and tap == furthest))
        yield states
    except _Reached:
        pass
    finally:
        for handle in handles:
            handle.remove()


def _waits(module: nn.Module) -> bool:
    return bool(module._forward_hooks) or hasattr(module, "_hf_hook")


def _order(tap: Tap, depth: int) -> tuple[int, int]:
    """Where in the forward the tap is read."""
    if tap.activation == "final_norm":
        return depth, 0
    return block_index(tap.layer, depth), int(tap.activation == "block_output")


def _attach(
    tap: Tap,
    model: nn.Module,
    decoder: nn.Module,
    blocks: nn.ModuleList,
    states: dict[Tap, Tensor],
    stop: bool,
) -> Any:
    def keep(state: Tensor) -> None:
        states[tap] = state.detach()
        if stop:
            raise _Reached

    if tap.activation == "final_norm":
        return decoder.register_forward_hook(lambda module, args, output: keep(output[0]))
    block = blocks[block_index(tap.layer, len(blocks))]
    if tap.activation == "block_output":
        return block.register_forward_hook(
            lambda module, args, output: keep(output[0] if isinstance(output, tuple) else output)
        )
    mlp = getattr(block, "mlp", None)
    if not isinstance(mlp, nn.Module):
        raise ValueError(
            f"The MLP input of {type(model).__name__} cannot be found: its block {type(block).__name__} has no module "
            "named mlp; use signal.activation=block_output."
        )
    return mlp.register_forward_pre_hook(
        lambda module, args, kwargs: keep(args[0] if args else next(iter(kwargs.values()))), with_kwargs=True
    )
