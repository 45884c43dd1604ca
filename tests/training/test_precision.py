"""Rollouts, evaluation and signals run in the precision of training."""

import numpy as np
import torch

from gainrl.training.callbacks import Evaluation, SignalRefresh
from gainrl.types import EpochFeedback, SignalScores
from tests.training.rig import FollowSignal, RecordingEngine, data_of, fit, module_of


class Noting(RecordingEngine):
    """Keeps, per limit on tokens, whether autocast was on."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def generate(self, policy, prompts, sampling, keys):
        self.seen.add((sampling.max_new_tokens, torch.is_autocast_enabled("cpu")))
        return super().generate(policy, prompts, sampling, keys)


def phases(tmp_path, precision):
    """Phase to whether autocast was on in it."""
    engine, seen = Noting(), {}

    def measure(data, module, rows):
        seen["signal" if rows is None else "live signal"] = torch.is_autocast_enabled("cpu")
        values = np.arange(16.0)
        return SignalScores("given", values if rows is None else values[rows])

    def concentration(data, module, rows):
        seen["concentration"] = torch.is_autocast_enabled("cpu")
        return 0.5

    class Asking(FollowSignal):
        def start(self, pool, signal, seed):
            super().start(pool, signal, seed)
            self.pool = pool

        def end_epoch(self, feedback: EpochFeedback):
            self.pool.measure(np.array([0]))

    module = module_of(engine=engine)
    data = data_of(module, curriculum=Asking(), steps=3, epoch=2)
    refresh = SignalRefresh(measure=measure, folder=tmp_path, every_epochs=1, measure_concentration=concentration)
    fit(module, data, [refresh, Evaluation(every=2, samples=0, max_new_tokens=4)], precision=precision)
    return seen | {{6: "rollout", 4: "evaluation"}[limit]: on for limit, on in engine.seen}


def test_evaluation_and_signals_run_in_the_precision_of_training(tmp_path):
    names = {"signal", "live signal", "concentration", "rollout", "evaluation"}
    assert phases(tmp_path / "mixed", "bf16-mixed") == dict.fromkeys(names, True)
    assert phases(tmp_path / "full", "32-true") == dict.fromkeys(names, False)
