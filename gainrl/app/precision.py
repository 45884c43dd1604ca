"""Resolves ``trainer.precision=auto`` before a run is identified; a run keeps what it resolved to.

The numbers of a run depend on the precision, so the resolved value is part of its identity: a run that goes on on
another machine keeps the precision that it began with.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from omegaconf import DictConfig
from rich.console import Console

from gainrl.app.identity import has_computed
from gainrl.app.runtime import importing

PURE = "bf16-master"  # all of the policy in bfloat16, beside float32 weights that train; see `training.masters`


def settle_precision(config: DictConfig, folder: Path, console: Console) -> None:
    """Replaces ``auto`` by the precision of the run in ``folder``, or by what suits this machine, and says so."""
    if config.trainer.precision != "auto":
        return
    kept = keep_precision(config, folder)
    if kept and config.trainer.precision != "bf16-mixed":
        return
    # Imported when they are needed: a finished run returns without torch.
    with importing():
        from gainrl.app.hardware import will_use_cuda
        from gainrl.training.precision_choice import choose_precision, has_bfloat16

    if kept:
        slow = not has_bfloat16(cuda=will_use_cuda(config))
        console.print(
            f"precision: {config.trainer.precision}, with which this run began"
            f"{'; this machine has no bfloat16 and will be slow' if slow else ''}",
            style="yellow" if slow else "dim",
            highlight=False,
        )
        return
    choice = choose_precision(cuda=will_use_cuda(config))
    config.trainer.precision = choice.precision
    console.print(f"precision: {choice}", style="dim", highlight=False)


def keep_precision(config: DictConfig, folder: Path) -> bool:
    """Replaces ``auto`` by the precision of the run in ``folder``; False if that run has computed nothing."""
    path = folder / "config.yaml"
    if config.trainer.precision != "auto" or not path.is_file() or not has_computed(folder):
        return False
    stored = (yaml.safe_load(path.read_text()) or {}).get("trainer", {}).get("precision")
    if stored is None:
        return False
    config.trainer.precision = stored
    return True
