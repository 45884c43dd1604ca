import warnings
from functools import partial

import pytest
import torch

from gainrl.rollouts.hf import HFEngine
from gainrl.training.advantages import Mismatch
from gainrl.types import SamplingParams
from tests.training.rig import largest_difference, logged, module_of, trained, weights


class ShiftedEngine:
    """The real engine, claiming log-probs that are ``shift`` nats off (None: none at all) at ``version``."""

    def __init__(self, shift=0.0, *, stale=False):
        self.inner, self.shift, self.stale = HFEngine(), shift, stale

    def generate(self, policy, prompts, sampling, keys):
        rollout = self.inner.generate(policy, prompts, sampling, keys)
        if self.shift is None:
            rollout.sampling_logprobs = None
        else:
            rollout.sampling_logprobs = rollout.sampling_logprobs + self.shift
        rollout.version = policy.version - self.stale
        return rollout


def test_an_engine_with_the_training_weights_differs_by_rounding_alone():
    module = trained()
    assert logged(module)["rollout/logprob_difference_mean"] < 1e-5
    assert 0 < logged(module)["rollout/logprob_difference_max"] < 1e-4
    assert "rollout/importance_weight_mean" not in logged(module)


def test_a_constant_shift_is_what_the_metrics_say():
    module = trained(engine=ShiftedEngine(0.5), inner_epochs=2)
    assert logged(module)["rollout/logprob_difference_mean"] == pytest.approx(0.5, abs=1e-5)
    assert logged(module)["rollout/logprob_difference_max"] == pytest.approx(0.5, abs=1e-4)


def test_weights_below_the_cap_scale_the_gradient_and_above_it_are_cut():
    """Shifts of -log 2 and -log 10 give weights of 2 and 10 everywhere: caps of 4 leave 2 and 4."""
    start = weights(module_of())
    moved = {}
    for shift, cap in ((0.0, None), (-0.6931472, 4.0), (-2.3025851, 4.0)):
        module = trained(engine=ShiftedEngine(shift), mismatch=Mismatch(importance_cap=cap), lr=0.01, max_grad_norm=1e9)
        moved[shift] = {name: value - start[name] for name, value in weights(module).items()}
    plain, doubled, cut = moved.values()
    assert largest_difference(plain, {name: torch.zeros_like(value) for name, value in plain.items()}) > 1e-6
    for factor, found in ((2, doubled), (4, cut)):
        assert largest_difference({name: factor * value for name, value in plain.items()}, found) < 1e-5
    assert logged(module)["rollout/importance_weight_mean"] == pytest.approx(4.0, rel=1e-4)


def test_without_engine_logprobs_nothing_is_compared():
    module = trained(engine=ShiftedEngine(None), mismatch=Mismatch(alarm=0.1))
    assert not [name for name in logged(module) if name.startswith("rollout/")]


def test_weights_without_engine_logprobs_stop_the_run():
    with pytest.raises(RuntimeError, match="importance_cap=null"):
        trained(engine=ShiftedEngine(None), mismatch=Mismatch(importance_cap=2.0))


def test_the_alarm_warns_or_stops_and_names_the_ways_out():
    with pytest.warns(UserWarning, match=r"0\.5 nats per token.*alarm=0\.1.*importance_cap"):
        trained(engine=ShiftedEngine(0.5), mismatch=Mismatch(alarm=0.1))
    with pytest.raises(RuntimeError, match="rollout=hf"):
        trained(engine=ShiftedEngine(0.5), mismatch=Mismatch(alarm=0.1, on_alarm="stop"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        trained(engine=ShiftedEngine(0.5), mismatch=Mismatch(alarm=0.6))


def test_a_difference_that_is_no_number_alarms():
    sums = {f"logprob_difference/{name}": torch.tensor(float("nan")) for name in ("sum", "max", "tokens")}
    with pytest.raises(RuntimeError, match="nan nats"):
        Mismatch(alarm=1.0, on_alarm="stop").metrics(sums)


def test_completions_of_older_weights_never_train():
    with pytest.raises(RuntimeError, match="sampled with version"):
        trained(engine=ShiftedEngine(0.0, stale=True))


def test_a_fused_optimizer_s_steps_are_new_versions():
    class Noting(ShiftedEngine):
        def generate(self, policy, prompts, sampling, keys):
            seen.append(policy.version)
            return super().generate(policy, prompts, sampling, keys)

    seen = []
    trained(steps=3, engine=Noting(), optimizer=partial(torch.optim.AdamW, lr=0.01, fused=True))
    assert len(seen) == 3
    assert seen[0] < seen[1] < seen[2]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"alarm": 0.0}, "rollout.mismatch.alarm=0.0"),
        ({"on_alarm": "cry"}, "use warn or stop"),
        ({"importance_cap": 0.5}, "rollout.mismatch.importance_cap=0.5"),
        ({"importance_cap": float("inf")}, "importance_cap=inf"),
    ],
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Mismatch(**settings)


@pytest.mark.parametrize("cut", [{"top_p": 0.9}, {"top_k": 5}])
def test_weights_of_a_cut_distribution_are_refused(cut):
    sampling = SamplingParams(group_size=2, max_new_tokens=1, **cut)
    Mismatch().check(sampling)
    with pytest.raises(ValueError, match="top_p and top_k cut it"):
        Mismatch(importance_cap=2.0).check(sampling)
