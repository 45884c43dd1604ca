"""Lightning callbacks: signal refresh, evaluation, progress, heartbeat, records, checkpoints."""

from gainrl.training.callbacks.checkpoint import Checkpoints
from gainrl.training.callbacks.evaluation import Evaluation
from gainrl.training.callbacks.heartbeat import Heartbeat
from gainrl.training.callbacks.progress import ProgressDisplay
from gainrl.training.callbacks.records import Records
from gainrl.training.callbacks.refresh import SignalRefresh

__all__ = ["Checkpoints", "Evaluation", "Heartbeat", "ProgressDisplay", "Records", "SignalRefresh"]
