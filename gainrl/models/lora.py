"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) through peft; the reference policy is the model without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from gainrl.functional.streams import stream_key


def add_adapter(
    model: Any,
    *,
    rank: int,
    alpha: int | None = None,
    targets: Sequence[str] | str = "all-linear",
    seed: int = 0,
) -> Any:
    """The model with a trainable adapter and frozen weights; the new model starts out equal to the old one.

    ``alpha`` scales the adapter by ``alpha / rank`` (twice the rank if not given). ``targets`` are names of linear
    modules, or ``all-linear`` for all but the output head. ``seed`` decides the random half of the adapter: equal
    arguments give equal weights in every process, and PyTorch's global generator stays as it was. Raises ValueError for
    a rank below 1, unknown targets, or if peft is not installed.
    """
    if rank < 1:
        raise ValueError(f"lora_rank={rank} must be at least 1; use lora_rank=0 to train the whole model")
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as fault:
        raise ValueError(f"lora_rank={rank} needs peft: pip install 'gainrl[lora]', or use lora_rank=0") from fault
    settings = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        lora_dropout=0.0,  # a policy must give the same log-probs twice
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),  # how GPT-2 stores its weights
        target_modules=targets if isinstance(targets, str) else list(targets),
    )
    try:
        with torch.random.fork_rng(devices=[]):  # peft draws from the global generator of the host
            torch.manual_seed(stream_key(seed, "lora") % 2**63)
            return get_peft_model(model, settings)
    except ValueError as fault:
        raise ValueError(f"lora_targets={targets} do not fit this model: {fault}") from fault


def has_adapter(model: Any) -> bool:
    return hasattr(model, "peft_config")
