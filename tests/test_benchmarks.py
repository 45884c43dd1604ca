"""The benchmarks run, at a size without meaning: no thresholds here."""

import argparse
import gzip
import json
import queue
import re
import sys

import numpy as np
import pytest

from benchmarks import concentration_cost, grpo_step, rollouts, signal_pass, update_memory
from gainrl.types import PromptTokens


@pytest.fixture(autouse=True)
def few_threads_stay(monkeypatch):
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)


@pytest.mark.parametrize("variant", [[], ["--beta", "0.04", "--inner-epochs", "2"], ["--half-constant"]])
def test_a_step_runs_and_accounts_for_its_phases(variant, monkeypatch, capsys):
    small = ["--prompts", "2", "--prompt-length", "6", "--group-size", "4", "--completion-length", "3"]
    monkeypatch.setattr(sys, "argv", ["grpo_step", *small, "--repeats", "1", *variant])
    grpo_step.main()
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


def test_both_sides_of_the_signal_pass_agree(monkeypatch, capsys, tmp_path):
    with gzip.open(tmp_path / "gsm8k_train.jsonl.gz", "wt") as lines:
        for number in range(4):
            record = {"id": str(number), "problem": f"What is {number} + {number}? " * (1 + number), "answer": "0"}
            lines.write(json.dumps(record) + "\n")
    monkeypatch.setattr(sys, "argv", ["signal_pass", "--data", str(tmp_path), "--prompts", "4"])
    signal_pass.main()
    printed = capsys.readouterr().out
    assert "times fewer multiply-adds" in printed
    assert float(re.search(r"largest difference of values\D+([\d.e-]+)", printed)[1]) < 1e-5


def test_the_multiply_adds_of_the_signal_pass_are_those_of_its_matrices():
    policy = signal_pass.byte_model()
    # Per block: queries and output 256 x 256, keys and values 256 x 128, the MLP three times 256 x 1408.
    block, mlp = 2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 1408, 3 * 256 * 1408
    prompt = PromptTokens(tuple(range(7)), {"question": (4, 6)})
    published = signal_pass.published_work(policy, [prompt])
    assert published.projections == pytest.approx(7 * 4 * block / 1e9)
    assert published.attention == pytest.approx(4 * 2 * 256 * (1 + 2 + 3 + 4 + 5 + 6 + 7) / 1e9)
    assert published.head == pytest.approx(7 * 256 * 256 / 1e9)
    assert published.cosines == pytest.approx(7 * 7 * 256 / 1e9)
    ours = signal_pass.pass_work(policy, 4, np.array([2]))
    assert ours.projections == pytest.approx((4 * 4 * block + 2 * (4 * block - mlp)) / 1e9)
    assert ours.attention == pytest.approx(4 * 2 * 256 * (1 + 2 + 3 + 4 + 5 + 6) / 1e9)


def test_the_cost_of_the_concentration_is_told_from_steps_with_and_without_it(monkeypatch, capsys):
    small = ["--prompts", "2", "--question-length", "6", "--completion-length", "3", "--group-size", "4"]
    monkeypatch.setattr(sys, "argv", ["concentration_cost", "--steps", "2", *small])
    concentration_cost.main()
    assert "processor time in the probe" in capsys.readouterr().out
