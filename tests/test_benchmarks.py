"""The benchmarks run, at a size without meaning: no thresholds here."""

import argparse
import queue
import sys

import numpy as np
import pytest

from benchmarks import grpo_step, rollouts, update_memory


@pytest.fixture(autouse=True)
def few_threads_stay(monkeypatch):
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)


@pytest.mark.parametrize("variant", [[], ["--beta", "0.04", "--inner-epochs", "2"], ["--half-constant"]])
def test_a_step_runs_and_accounts_for_its_phases(variant, monkeypatch, capsys):
    small = ["--prompts", "2", "--prompt-length", "6", "--group-size", "4", "--completion-length", "3"]
    grpo_step.main([*small, "--repeats", "1", *variant])
    printed = capsys.readouterr().out
    assert "gainrl: rollout" in printed
    assert "gainrl: update" in printed


def test_rollouts_print_both_sides(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["rollouts", "--prompts", "2", "--group-size", "2", "--completion-length", "3", "--repeats", "1"]
    )
    rollouts.main()
    assert "model.generate" in capsys.readouterr().out


def test_both_sides_of_the_memory_benchmark_have_the_same_gradients():
    options = argparse.Namespace(vocabulary=2000, sequences=2, length=12, threads=1)
    results = queue.Queue()
    for side in ("gainrl", "full logits"):
        update_memory.run_side(side, options, results)
    ours, full = results.get()[3], results.get()[3]
    np.testing.assert_allclose(ours, full, rtol=1e-4, atol=1e-7)
