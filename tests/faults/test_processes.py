"""Signals, locks, refusals and repeated sweeps, with real processes."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.faults.lives import Life
from tests.faults.test_kills import SMALL, STEPS, final_state, log, record
from tests.training.resumable import same_run, table

pytestmark = pytest.mark.faults

RUN = ["baseline=vanilla_grpo", *SMALL]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert Life(folder, RUN, folder.parent / "cache").end() == 0, log(folder)
    return folder


def said(text: str, folder: Path) -> bool:
    """Whether the output holds a text, wherever the terminal broke its lines."""
    return "".join(text.split()) in "".join(log(folder).replace("│", "").split())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_signal_ends_the_run_between_steps_and_the_command_goes_on(tmp_path, whole, number):
    folder = tmp_path / "run"
    life = Life(folder, [*RUN, "checkpoint.every_steps=null"], tmp_path / "cache")
    life.wait_for(folder / "metrics.csv", "\n1,")
    life.signal(number)
    assert life.end() == 75, log(folder)
    assert record(folder)["status"] == "interrupted"
    steps = [int(row["step"]) for row in table(folder)]
    assert (folder / "checkpoints" / f"step-{steps[-1]:06d}.ckpt").exists()
    assert said(f"{number.name} after step {steps[-1]}", folder)
    assert Life(folder, RUN, tmp_path / "cache").end() == 0, log(folder)
    assert record(folder)["status"] == "finished"
    assert record(folder)["resumed_after"] == [steps[-1]]
    assert same_run(final_state(whole), final_state(folder)) == []
    assert table(folder) == table(whole)


def test_a_second_signal_ends_the_process_at_once(tmp_path):
    folder = tmp_path / "run"
    life = Life(folder, [*RUN, "algorithm.inner_epochs=50"], tmp_path / "cache")
    life.wait_for(folder / "metrics.csv", "\n1,")
    life.signal(signal.SIGTERM)
    life.signal(signal.SIGINT)
    assert life.end() in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert record(folder)["status"] == "running"


def test_a_second_process_is_refused_while_the_first_lives_and_the_lock_of_a_dead_one_is_taken_over(tmp_path):
    folder = tmp_path / "run"
    first = Life(folder, [*RUN, "algorithm.inner_epochs=50"], tmp_path / "cache")
    first.wait_for(folder / "metrics.csv", "\n1,")
    second = Life(folder, [*RUN, "algorithm.inner_epochs=50"], tmp_path / "cache")
    assert second.end() == 1
    assert said(f"is in use by process {first.process.pid} on", folder)
    assert record(folder)["status"] == "running"
    assert first.kill_after(0) == -signal.SIGKILL
    third = Life(folder, [*RUN, "algorithm.inner_epochs=50", f"schedule.steps={STEPS}"], tmp_path / "cache")
    third.wait_for(folder / "record.json", "resumed_after")
    third.kill_after(0)


def test_changed_problems_are_refused_with_both_fingerprints(tmp_path):
    problems = tmp_path / "problems.jsonl"
    rows = [{"id": str(n), "problem": f"{n}+1", "answer": str(n + 1)} for n in range(16)]

    def write() -> None:
        problems.write_text("".join(json.dumps(row) + "\n" for row in rows))

    write()
    folder = tmp_path / "run"
    small = [item for item in RUN if not item.startswith(("dataset.", "debug="))]
    command = [*small, "dataset=jsonl", f"dataset.train={problems}", "dataset.held_out_size=4"]
    assert Life(folder, command, tmp_path / "cache", at=("rollout", 6)).end() == -signal.SIGKILL, log(folder)
    rows[0]["answer"] = "7"
    write()
    assert Life(folder, command, tmp_path / "cache").end() == 1
    assert said("belongs to another run", folder)
    assert said("data.train: '", folder)
    assert record(folder)["status"] == "running"


def test_resume_starts_from_a_given_checkpoint_in_another_directory(tmp_path, whole):
    first, second = tmp_path / "first", tmp_path / "second"
    assert Life(first, RUN, tmp_path / "cache", at=("after a checkpoint", 3)).end() == -signal.SIGKILL
    given = first / "checkpoints" / "step-000003.ckpt"
    assert Life(second, [*RUN, f"resume={given}"], tmp_path / "cache").end() == 0, log(second)
    assert record(second)["resumed_after"] == [3]
    assert same_run(final_state(whole), final_state(second)) == []
    assert table(second) == table(whole)
    other = [*RUN, f"resume={given}", "seed=1"]
    assert Life(tmp_path / "third", other, tmp_path / "cache").end() == 1
    assert said("config.seed: 0 there, 1 now", tmp_path / "third")
