"""The precision of training around what runs outside of its steps.

Lightning enters its precision (autocast with ``trainer.precision=bf16-mixed``) around a training step only. Evaluation
and signals in another precision would take three times as long on a GPU, and would measure another policy than the one
that writes the completions.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import lightning


def in_training_precision(trainer: lightning.Trainer) -> AbstractContextManager[None]:
    """A context in which forwards run as they do in a training step."""
    return trainer.precision_plugin.forward_context()
