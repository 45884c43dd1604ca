"""Optional faster kernels for the training forward: torch.compile, and liger-kernel's on a GPU."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from gainrl.models.scoring import decoder_of
from gainrl.types import Policy


def check_liger() -> None:
    """Raises ValueError where liger-kernel cannot run, with what to type instead."""
    if not torch.cuda.is_available():
        raise ValueError("trainer.liger=true needs a CUDA GPU, and this machine has none; type trainer.liger=false")
    if importlib.util.find_spec("liger_kernel") is None:
        raise ValueError(
            "trainer.liger=true needs liger-kernel; type pip install 'gainrl[liger]', or trainer.liger=false"
        )


def patch_with_liger(model: Any) -> None:
    """Replaces norms, rotary embedding and the gated MLP of ``model`` by liger-kernel's fused ones (arXiv 2410.10989).

    Its fused losses stay out, since log-probabilities are computed from hidden states here. Raises ValueError where
    liger-kernel cannot run (`check_liger`) or does not know the architecture.
    """
    check_liger()
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    kind = model.config.model_type
    if kind not in MODEL_TYPE_TO_APPLY_LIGER_FN:
        known = ", ".join(sorted(MODEL_TYPE_TO_APPLY_LIGER_FN))
        raise ValueError(f"trainer.liger=true: liger-kernel has no kernels for {kind!r}, only for {known}")
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    MODEL_TYPE_TO_APPLY_LIGER_FN[kind](model=inner, cross_entropy=False, fused_linear_cross_entropy=False)


def compile_decoder(policy: Policy) -> None:
    """Compiles the forward over completions that share their prompts; shapes stay dynamic.

    Rollouts and the forward over prompts run as before: a decoding step is too small to gain, and compiled code does
    not see the hooks through which a curriculum reads hidden states.
    """
    policy.compiled_decoder = torch.compile(decoder_of(policy.model), dynamic=True)
