"""What goes wrong in the middle of a run: gradients that are not finite, too little memory, loggers that fail."""

from __future__ import annotations

import math
import signal

import pytest
import torch

from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.values import ValueSettings
from gainrl.training.advantages import Mismatch
from gainrl.training.batching import MiniBatch
from gainrl.training.critic import CriticSettings
from gainrl.training.upkeep import interruption
from gainrl.training.upkeep.interruption import Interrupted, StopRequest
from gainrl.training.upkeep.nonfinite import Diverged, NonfiniteGuard, read_bundle
from tests.training import resumable
from tests.training.resumable import STEPS, run, same_run, table
from tests.training.rig import data_of, fit, module_of, tiny_policy


def poison(*calls: int):
    """Makes the losses of the given micro-batches NaN, counted over the run; keeps the module."""
    seen: list = []

    def alter(module, checkpoints) -> None:
        honest, count = module.learner.micro_batch_loss, iter(range(10**6))

        def loss(*arguments):
            result = honest(*arguments)
            return type(result)(result.loss * torch.nan, result.sums) if next(count) in calls else result

        module.learner.micro_batch_loss = loss
        seen.append(module)

    return alter, seen


def test_an_update_that_is_not_finite_is_skipped_and_counted(tmp_path):
    alter, _ = poison(2)
    with pytest.warns(UserWarning, match=r"step 3: the update is not finite \(loss nan\) and was skipped"):
        state = run(tmp_path, alter=alter)
    assert state["counters"]["nonfinite_updates"] == 1
    assert state["counters"]["nonfinite_in_a_row"] == 0
    assert state["counters"]["updates"] == STEPS - 1
    assert all(torch.isfinite(value).all() for value in state["weights"].values())
    assert [float(row["nonfinite_updates"]) for row in table(tmp_path)[1:]] == [0, 0, 1, 1, 1, 1, 1]


def ppo(trunk: str) -> dict:
    return {
        "critic": CriticSettings(value=ValueSettings(coefficient=0.5), trunk=trunk, learning_rate=1e-2),
        "advantage": AdvantageSettings(baseline="none", scale="tokens", eps=1e-8),
        "objective": {"aggregation": "token_mean", "beta": 0.05, "kl_placement": "reward", "kl_estimator": "k1"},
        "inner_epochs": 2,
        "mismatch": Mismatch(importance_cap=2.0),
    }


BUNDLED = {
    "grpo in mini-batches": {"objective": {"beta": 0.04}, "inner_epochs": 2, "minibatch_prompts": 2},
    "grpo with importance weights": {"objective": {"beta": 0.04}, "mismatch": Mismatch(importance_cap=2.0)},
    "ppo": ppo("shared"),
    "ppo with a trunk of its own": ppo("separate"),
}


@pytest.mark.parametrize("arm", BUNDLED)
def test_the_bundle_computes_the_skipped_update_again(tmp_path, arm):
    """The same loss and gradients to the last bit, in another module that begins with other weights."""
    path, seen = tmp_path / "nonfinite.pt", []
    module = module_of(
        guard=NonfiniteGuard(bundle=path), lr=0.05, micro_batch_size=5, max_grad_norm=1e9, **BUNDLED[arm]
    )
    honest, calls = module.learner._gradients, iter(range(100))

    def gradients(update):
        sums, loss = honest(update)
        if next(calls) != 5:
            return sums, loss
        seen.append((loss, total_norm(module)))
        return sums, math.nan

    module.learner._gradients = gradients
    with pytest.warns(UserWarning, match="nonfinite.pt holds weights and batch"):
        fit(module, data_of(module, steps=6))
    bundle = read_bundle(path)
    other = module_of(tiny_policy(seed=3), **BUNDLED[arm])
    other.model.load_state_dict(bundle.weights)
    assert (bundle.critic is None) == (other.critic is None)
    if bundle.critic is not None:
        other.critic.load_state_dict(bundle.critic)
    results = [other.learner.micro_batch_loss(bundle.update, rows) for rows in bundle.update.plan.micro_batches]
    for result in results:
        result.loss.backward()
    assert len(results) > 1
    assert [(float(sum(result.loss.detach() for result in results)), total_norm(other))] == seen
    assert seen[0][1] > 0


def total_norm(module) -> float:
    """Of the gradients of the model and of the critic."""
    return float(torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None]))


def test_too_many_in_a_row_stop_the_run_with_checkpoints_from_before(tmp_path):
    alter, _ = poison(2, 3)
    with (
        pytest.warns(UserWarning, match="skipped"),
        pytest.raises(Diverged, match=r"number 2 in a row .*nonfinite_limit"),
    ):
        run(tmp_path, alter=alter, every_steps=1)
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*")) == [
        "step-000001.ckpt",
        "step-000002.ckpt",
    ]


def raise_as_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def allocate_too_much() -> None:
    torch.empty(10**15)


@pytest.mark.parametrize(("limit", "run_out"), [(1, raise_as_a_gpu), (3, raise_as_a_gpu), (3, allocate_too_much)])
def test_running_out_of_memory_halves_the_micro_batches_and_changes_nothing_else(tmp_path, limit, run_out):
    def alter(module, checkpoints) -> None:
        honest = module.learner.micro_batch_loss

        def loss(update, rows, watch=None):
            if len(rows) > limit:
                run_out()
            return honest(update, rows, watch)

        module.learner.micro_batch_loss = loss

    whole = run(tmp_path / "whole", steps=1)
    with pytest.warns(UserWarning, match="out of memory in the update; micro-batches are halved"):
        state = run(tmp_path / "small", steps=1, alter=alter)
    assert state["counters"]["memory_retries"] >= 2
    assert state["micro_batch_tokens"] == whole["micro_batch_tokens"] >> state["counters"]["memory_retries"]
    for name, value in whole["weights"].items():
        torch.testing.assert_close(state["weights"][name], value, rtol=0, atol=2e-4)
    for name in ("accuracy", "tokens/update"):  # nothing is counted twice
        assert table(tmp_path / "whole")[1][name] == table(tmp_path / "small")[1][name]


def test_a_single_completion_that_does_not_fit_ends_the_run(tmp_path):
    def alter(module, checkpoints) -> None:
        def loss(*arguments):
            raise torch.OutOfMemoryError("out of memory")

        module.learner.micro_batch_loss = loss

    with pytest.warns(UserWarning, match="halved"), pytest.raises(torch.OutOfMemoryError):
        run(tmp_path, alter=alter)


def test_other_errors_of_the_update_are_not_taken_for_a_lack_of_memory(tmp_path):
    def alter(module, checkpoints) -> None:
        def loss(*arguments):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

        module.learner.micro_batch_loss = loss

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run(tmp_path, alter=alter, steps=1)


def test_halves_hold_the_same_completions():
    plan = MiniBatch(torch.arange(5), [torch.tensor([3, 1, 4]), torch.tensor([0])], None)
    assert plan.halve()
    assert [rows.tolist() for rows in plan.micro_batches] == [[3, 1], [4], [0]]
    assert plan.halve()
    assert [rows.tolist() for rows in plan.micro_batches] == [[3], [1], [4], [0]]
    assert not plan.halve()


class Broken(resumable.Trackers):
    def log_metrics(self, metrics, step=None) -> None:
        super().log_metrics(metrics, step)
        raise ConnectionError("unreachable")


def test_a_logger_that_fails_stops_nothing_and_is_left_alone_after_three_failures(tmp_path, monkeypatch):
    monkeypatch.setattr(resumable, "Trackers", Broken)
    tried: list[int] = []
    with pytest.warns(UserWarning, match="unreachable.*training goes on"):
        run(tmp_path, tracked=tried)
    assert tried == [0, 1, 2]
    assert [int(row["step"]) for row in table(tmp_path)] == list(range(STEPS + 1))


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_request_to_stop_finishes_the_step_and_the_run_goes_on_from_there(tmp_path, step):
    def alter(module, checkpoints) -> None:
        honest = module.learner.update

        def update(*arguments):
            if module.counters.step == step - 1:
                checkpoints.stop.signal = "SIGTERM"
            return honest(*arguments)

        module.learner.update = update

    with pytest.raises(Interrupted, match=f"SIGTERM after step {step}"):
        run(tmp_path / "stopped", alter=alter, every_steps=None)
    assert (tmp_path / "stopped" / "checkpoints" / f"step-{step:06d}.ckpt").exists()
    assert [int(row["step"]) for row in table(tmp_path / "stopped")] == list(range(step + 1))
    assert same_run(run(tmp_path / "stopped"), run(tmp_path / "whole")) == []
    assert table(tmp_path / "stopped") == table(tmp_path / "whole")


def test_the_handlers_of_signals_are_given_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    stop = StopRequest()
    stop.install()
    stop.install()
    assert signal.getsignal(signal.SIGTERM) == stop._handle
    stop.remove()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def asked(*numbers, repeats=False, seconds_between=0.0, monkeypatch):
    """The request after some signals, and the codes with which it would have ended the process."""
    now, codes = [100.0], []
    monkeypatch.setattr(interruption.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(interruption.os, "_exit", codes.append)
    stop = StopRequest(repeats=repeats)
    stop.between_steps = True
    for number in numbers:
        stop._handle(number, None)
        now[0] += seconds_between
    return stop.signal, codes


def test_the_signal_of_preemption_is_never_more_than_a_request(monkeypatch):
    usr2, term = signal.SIGUSR2, signal.SIGTERM
    assert asked(usr2, usr2, monkeypatch=monkeypatch) == ("SIGUSR2", [])
    assert asked(term, usr2, monkeypatch=monkeypatch) == ("SIGTERM", [])
    assert asked(usr2, term, monkeypatch=monkeypatch) == ("SIGUSR2", [143])


def test_one_request_may_arrive_twice_where_it_is_passed_on(monkeypatch):
    term, interrupt = signal.SIGTERM, signal.SIGINT
    assert asked(term, term, monkeypatch=monkeypatch) == ("SIGTERM", [143])
    assert asked(term, term, repeats=True, monkeypatch=monkeypatch) == ("SIGTERM", [])
    assert asked(term, term, repeats=True, seconds_between=2.0, monkeypatch=monkeypatch) == ("SIGTERM", [143])
    assert asked(term, interrupt, repeats=True, monkeypatch=monkeypatch) == ("SIGTERM", [130])


def test_before_the_first_step_a_signal_stops_at_once():
    with pytest.raises(Interrupted, match="SIGINT before the first step"):
        StopRequest()._handle(2, None)
