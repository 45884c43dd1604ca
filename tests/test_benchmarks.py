"""The benchmarks run, at a size without meaning: no thresholds here."""

import argparse
import gzip
import json
import queue
import re
import sys

import numpy as np
import pytest
import torch

import benchmarks.__main__
import benchmarks.__main__ as runner
from benchmarks import (
    arithmetic,
    bases,
    concentration_cost,
    grpo_step,
    rollouts,
    scaling,
    signal_pass,
    tables,
    update_memory,
)
from benchmarks.step import StepSettings
from gainrl.training.warm_start.supervised import WarmStartProgress
from gainrl.types import PromptTokens
from tests.training.rig import tiny_policy


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


def test_scaling_writes_a_table_and_a_plot(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scaling, "BASE", StepSettings(prompts=2, prompt_length=6, group_size=2, completion_length=3))
    monkeypatch.setattr(scaling, "SIZES", {"group_size": [2, 4], "completion_length": [2, 3]})
    monkeypatch.setattr(scaling, "draw_plot", lambda rows, path: path.write_text(str(len(rows))))
    scaling.main(["--small", "--repeats", "1", "--folder", str(tmp_path)])
    lines = (tmp_path / "scaling.csv").read_text().splitlines()
    assert lines[0] == "what,size,seconds"
    assert [line.rsplit(",", 1)[0] for line in lines[1:]] == [
        *("group_size,2", "group_size,4", "completion_length,2", "completion_length,3"),
        *("refresh,100", "draw,100", "refresh,1000", "draw,1000"),
    ]
    assert (tmp_path / "scaling.png").read_text() == "8"
    assert "| draw " in capsys.readouterr().out


def test_linear_growth_has_slope_one():
    assert scaling.slope([("x", 10, 5.0), ("x", 20, 1.0), ("x", 40, 2.0)]) == pytest.approx(1.0)
    assert scaling.slope([("x", 10, 3.0), ("x", 1000, 3.0)]) == 0.0


def test_the_floor_counts_every_product_of_a_step(monkeypatch):
    monkeypatch.setattr(arithmetic, "product_speed", lambda: 1e9)
    settings = StepSettings(prompts=2, prompt_length=10, group_size=3, completion_length=4)
    floor = arithmetic.step_floor(settings)
    decoder, head = 4 * (4 * 128 * 128 + 3 * 128 * 384), 128 * 320  # weights of width 128, inner width 384
    prompts, completions = 2 * 10, 2 * 3 * 4
    attention = 2 * 4 * 128 * (completions * (10 + 4 / 2) + prompts * 10 / 2)  # scores and sums, per layer
    forward = 2 * (decoder * (prompts + completions) + head * completions + attention)
    assert floor.operations == 4 * forward  # to sample, to learn, and twice that backwards
    assert floor.seconds == pytest.approx(4 * forward / 1e9)


def test_the_runner_writes_what_benchmarks_print_and_reports_failures(tmp_path, monkeypatch):
    chosen = [
        runner.Benchmark("Good", "tables", ["--full"], ["--smoke"]),
        runner.Benchmark("Full only", "tables", [], None),
        runner.Benchmark("Missing", "no_such_benchmark", [], []),
    ]
    monkeypatch.setattr(runner, "benchmarks", lambda peer, vllm, data: chosen)
    output = tmp_path / "new" / "RESULTS.md"
    assert runner.main(["--smoke", "--output", str(output)]) == 1
    written = output.read_text()
    assert "## Good\n\n`python -m benchmarks.tables --smoke`" in written
    assert "## Full only" not in written
    assert "## Missing" in written
    assert "Failed with status 1." in written
    assert "torch " in written
    first = written.index("## Missing")
    assert runner.main(["--smoke", "--only", "no_such_benchmark", "--output", str(output)]) == 1
    again = output.read_text()  # the other part stays, in its place
    assert again.count("## Good") == again.count("## Missing") == 1
    assert again[:first] == written[:first]


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


def test_a_base_is_the_most_graded_look_between_two_probabilities():
    """Five looks: too early, the easiest level missed, graded, less graded, too late."""
    probabilities = [0.2, 0.32, 0.36, 0.38, 0.41]
    rates = iter([[0.7, 0.5, 0.5], [0.9, 0.5, 0.1], [1.0, 0.5, 0.1]])
    policy = tiny_policy()
    looks = bases.Looks(policy, lambda policy: {"sampled": next(rates)}, low=0.3, high=0.4)

    def warm_start():
        for number, probability in enumerate(probabilities):
            for step in range(bases.EVERY):
                looks(WarmStartProgress(number * bases.EVERY + step + 1, 200, probability, 1.0, 1))
            with torch.no_grad():
                next(policy.model.parameters()).add_(1.0)

    with pytest.raises(bases.Enough):
        warm_start()
    spread, step, weights = looks.best
    assert spread == pytest.approx((0.09 + 0.25 + 0.09) / 3)
    assert step == 3 * bases.EVERY
    name, value = next(iter(policy.model.named_parameters()))
    torch.testing.assert_close(value - weights[name], torch.full_like(value, 2.0))


def test_goals_are_gathered_with_what_was_reached(capsys):
    tables.print_goal("a step", 4.2, 4.196, "times faster than TRL")
    tables.print_goal("a step", 4.0, 3.5, "GiB held", at_most=True)
    printed = capsys.readouterr().out
    text = benchmarks.__main__.goals({0: "a table\n", 3: printed})
    assert text.splitlines()[1:] == [
        "## Goals",
        "",
        "- a step: at least 4.2 times faster than TRL, 4.196 measured, missed",
        "- a step: at most 4 GiB held, 3.5 measured, met",
    ]
    assert benchmarks.__main__.goals({0: "a table\n"}) == ""


def test_a_step_says_whether_it_reached_its_goals(monkeypatch, capsys):
    monkeypatch.setattr(grpo_step, "in_own_process", lambda work: (3 << 30, 2 << 30))
    small = ["--prompts", "2", "--prompt-length", "6", "--group-size", "4", "--completion-length", "3"]

    def judged(least):
        monkeypatch.setattr(grpo_step, "LEAST_INFORMATIVE", least)
        grpo_step.main([*small, "--repeats", "1", "--goal-floor", "1e9", "--goal-gib", "2.5"])
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith(tables.GOAL)]

    assert judged(least=1.1) == []  # groups without a gradient are work that TRL alone does
    goals = judged(least=0.0)
    assert [line.rpartition(", ")[2] for line in goals] == ["met", "missed"]
    assert goals[1].endswith("toy step, prompts of 6, 32-true, 1 thread: at most 2.5 GiB held, 3 measured, missed")
