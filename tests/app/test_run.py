"""Whole runs in this process: reproducible, one after the other, and stopped half-way."""

import csv
import io
import json

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from gainrl.app.errors import ConfigError, RunInterrupted
from gainrl.app.identity import RunRecord
from gainrl.app.train import run_job
from gainrl.training.grpo import GRPOModule
from tests.composition import SMALL, composed
from tests.docs.test_metrics import is_documented


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing takes longer than training here, and `test_commands` looks at a picture."""
    monkeypatch.setattr("gainrl.app.run.draw_curves", lambda *given, **options: None)


def run(folder, *overrides):
    console = Console(file=io.StringIO(), width=200)
    objective = run_job(composed(*SMALL, "logger=none", *overrides, folder=folder), console)
    return objective, console.file.getvalue()


def stop_after(step, folder, monkeypatch, *overrides):
    """A life that ends when the step after ``step`` would begin."""
    honest = GRPOModule.training_step

    def stops(module, batch, index):
        if module.counters.step == step:
            raise RuntimeError("the power went")
        return honest(module, batch, index)

    with monkeypatch.context() as broken:
        broken.setattr(GRPOModule, "training_step", stops)
        with pytest.raises(RuntimeError, match="the power went"):
            run(folder, *overrides)


def numbers(folder):
    """metrics.csv without the columns that hold seconds, or bytes of memory and checkpoints."""
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: value for name, value in row.items() if "seconds" not in name and "bytes" not in name} for row in rows
    ]


def same(one, other):
    weights = [load_file(folder / "policy" / "model.safetensors") for folder in (one, other)]
    return (
        numbers(one) == numbers(other)
        and (one / "rollouts.jsonl").read_bytes() == (other / "rollouts.jsonl").read_bytes()
        and all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The first run of this process."""
    folder = tmp_path_factory.mktemp("runs") / "reference"
    return folder, *run(folder)


def test_two_runs_with_one_seed_are_identical_and_another_seed_differs(reference, tmp_path):
    run(tmp_path / "again")
    assert same(reference[0], tmp_path / "again")
    run(tmp_path / "other", "seed=1")
    assert any(float(row["grad_norm"] or 0) > 0 for row in numbers(reference[0]))  # something was learnt at all
    assert not same(reference[0], tmp_path / "other")
    # both start from the same weights: arms and seeds are compared from there on
    accuracies = [RunRecord(f).content["metrics"]["initial"] for f in (reference[0], tmp_path / "other")]
    assert accuracies[0] == accuracies[1]


def test_a_job_after_another_configuration_is_as_if_it_were_alone(reference, tmp_path):
    run(
        tmp_path / "before",
        "baseline=vanilla_grpo",
        "algorithm=dapo",
        "algorithm.inner_epochs=2",
        "rollout.temperature=0.7",
        "seed=5",
    )
    torch.manual_seed(1234)
    torch.rand(7)
    run(tmp_path / "after")
    assert same(reference[0], tmp_path / "after")


def test_micro_batches_change_nothing_that_is_learnt(reference, tmp_path):
    run(tmp_path / "split", "algorithm.micro_batch_size=3")
    whole, split = (load_file(f / "policy" / "model.safetensors") for f in (reference[0], tmp_path / "split"))
    assert max(float((whole[name] - split[name]).abs().max()) for name in whole) < 1e-5


def test_a_finished_run_returns_its_objective_without_training(reference, monkeypatch):
    folder, objective, _ = reference
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr("gainrl.app.run.train", lambda *given: pytest.fail("trained again"))
    again, message = run(folder)
    assert again == objective
    assert "nothing to do" in message
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_screen_shows_sizes_formula_accuracy_by_level_and_where_everything_is(reference):
    folder, objective, message = reference
    assert "3 steps x 4 prompts x 8 completions = 96 rollouts" in message
    assert "loss = 1/S" in message
    assert f"{objective:.3f}" in message
    assert str(folder) in message
    assert "prompts, 96 rollouts" in message


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        (RuntimeError("the judge is gone"), "failed", "RuntimeError: the judge is gone"),
        (KeyboardInterrupt(), "interrupted", ""),
    ],
)
def test_a_run_that_stops_says_why_and_goes_on_when_repeated(fault, status, reason, reference, tmp_path, monkeypatch):
    step = GRPOModule.training_step
    with monkeypatch.context() as broken:

        def stops(module, batch, index):
            if module.counters.step == 1:
                raise fault
            return step(module, batch, index)

        broken.setattr(GRPOModule, "training_step", stops)
        with pytest.raises((type(fault), RunInterrupted)):
            run(tmp_path)
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["status"], record["fault"]) == (status, reason)
    assert "objective" not in record
    run(tmp_path)
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["status"] == "finished"
    assert "fault" not in record
    assert same(reference[0], tmp_path)


def test_a_run_from_a_given_checkpoint_that_is_stopped_and_repeated_keeps_what_it_has(reference, tmp_path, monkeypatch):
    stop_after(1, tmp_path / "first", monkeypatch, "checkpoint.every_steps=1")
    new, given = tmp_path / "new", f"resume={tmp_path / 'first'}"
    stop_after(2, new, monkeypatch, given, "checkpoint.every_steps=1")
    _, message = run(new, given)
    assert "going on after step 2" in message
    assert json.loads((new / "record.json").read_text())["resumed_after"] == [1, 2]
    assert same(reference[0], new)
    monkeypatch.setattr("gainrl.app.run.train", lambda *given: pytest.fail("trained again"))
    assert "nothing to do" in run(new, given)[1]


def test_bytes_of_memory_and_checkpoints_are_logged(tmp_path):
    run(tmp_path, "checkpoint.every_steps=1")
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["memory/peak_bytes"]) > 1e6 for row in rows)
    with open(tmp_path / "checkpoints" / "saves.csv", newline="") as file:
        saved = {row["step"]: row["bytes"] for row in csv.DictReader(file)}
    assert [row["checkpoint/bytes"] for row in rows] == ["", "", saved["1"], saved["2"]]
    assert {"skipped_updates", "nonfinite_updates"} <= set(rows[-1])
    assert [name for name in rows[-1] if not is_documented(name)] == []


def test_a_bare_checkpoint_whose_signal_is_not_there_is_refused_with_nothing_written(tmp_path, monkeypatch):
    stop_after(2, tmp_path / "first", monkeypatch, "checkpoint.every_steps=1")
    bare = tmp_path / "backups" / "1" / "step-000001.ckpt"
    bare.parent.mkdir(parents=True)
    (tmp_path / "first" / "checkpoints" / bare.name).rename(bare)
    with pytest.raises(ConfigError, match="needs the values of its signal"):
        run(tmp_path / "new", f"resume={bare}")
    assert not (tmp_path / "new").exists()


def test_a_run_that_could_not_begin_leaves_its_directory_free(tmp_path):
    with pytest.raises(ValueError, match="group_size=1"):
        run(tmp_path / "run", "algorithm.group_size=1")
    assert not (tmp_path / "run").exists()
    assert run(tmp_path / "run")[0] >= 0


@pytest.mark.parametrize("baseline", ["vanilla_grpo", "greso", "dapo", "random_order", "half_data_angle"])
def test_other_arms_run_to_their_end(baseline, tmp_path):
    run(tmp_path, f"baseline={baseline}")
    rows = numbers(tmp_path)
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]
    assert any(name.startswith("curriculum/") for name in rows[-1])


def test_a_finished_run_is_prolonged_and_is_then_the_longer_run(tmp_path):
    short, long, whole = (tmp_path / arm / "s0" for arm in ("steps-2", "steps-4", "elsewhere/steps-4"))
    run(short, "schedule.steps=2", "evaluation.every=2")
    _, output = run(whole, "schedule.steps=4", "evaluation.every=2")
    assert "is the same run up to step" not in output
    _, output = run(long, "schedule.steps=4", "evaluation.every=2", f"resume={short}")
    assert "going on after step 2" in output
    assert same(long, whole)


def test_a_longer_run_mentions_the_shorter_one_beside_it(tmp_path):
    short, long = tmp_path / "steps-2" / "s0", tmp_path / "steps-3" / "s0"
    run(short, "schedule.steps=2")
    _, output = run(long, "schedule.steps=3")
    assert f"{short} is the same run up to step 2" in " ".join(output.split())
    with pytest.raises(ConfigError, match=f"To prolong it, type resume={short} beside schedule.steps=3"):
        run(short, "schedule.steps=3")
