"""Lightning callbacks: signal refresh, evaluation, progress, records, checkpoints."""

from gainrl.training.callbacks.checkpoint import Checkpoints
from gainrl.training.callbacks.evaluation import Evaluation
from gainrl.training.callbacks.progress import ProgressDisplay
from gainrl.training.callbacks.records import Records
from gainrl.training.callbacks.refresh import SignalRefresh

__all__ = ["Checkpoints", "Evaluation", "ProgressDisplay", "Records", "SignalRefresh"]
