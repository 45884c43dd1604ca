"""Whole runs with every curriculum, algorithm, signal and allocation, stopped twice: the same in every bit."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math

import pytest
import torch
from rich.console import Console

from gainrl.app.train import run_job
from gainrl.training.grpo import GRPOModule
from tests.composition import SMALL, composed, options
from tests.training.resumable import rollouts, same_run, table

STEPS = 4
SHORT = (
    *SMALL,
    "logger=none",
    f"schedule.steps={STEPS}",
    "schedule.steps_per_epoch=2",
    "schedule.refresh_every_epochs=1",
    "rollout.max_new_tokens=6",
    "algorithm.group_size=4",
    "evaluation.every=2",
    "evaluation.limit=1",
    "checkpoint.every_steps=1",
)
NEEDS = {
    "signal=pass_rate": ["signal.samples=2"],
    "curriculum=adarft": ["curriculum.difficulty=rank"],
    "algorithm=spo": ["curriculum=spo"],
    "curriculum=bandit": ["curriculum.over=level"],
    "curriculum=fraction": ["curriculum.keep_fraction=0.5"],
    "curriculum=dots": ["signal=pass_rate", "signal.samples=2"],
    "curriculum=pcl": ["curriculum.live=false"],
    "algorithm=cispo": ["algorithm.replay={share:0.5,max_age:2}"],
    "allocation=speed": ["allocation.screen=2"],
}
ELSEWHERE = "signal=published"  # reads a file, for the rows of data sets that a test cannot have


def arms() -> list[tuple[str, ...]]:
    """Every option of four groups at least once, each with whatever of the others has its turn."""
    groups = [
        [arm for name in options(group) if (arm := f"{group}={name}") != ELSEWHERE]
        for group in ("curriculum", "algorithm", "signal", "allocation")
    ]
    curricula, _, signals, _ = groups
    shift = signals.index("signal=pass_rate") - curricula.index("curriculum=oracle")  # the oracle takes no other
    groups[2] = signals[shift:] + signals[:shift]
    longest = max(map(len, groups))
    return list(itertools.islice(zip(*map(itertools.cycle, groups), strict=False), longest))


def run(folder, overrides, monkeypatch=None, *, until: int = STEPS) -> None:
    """One life, to its end or until the step after ``until`` would begin."""
    honest = GRPOModule.training_step

    def stops(module, batch, index):
        if module.counters.step == until:
            raise RuntimeError("the power went")
        return honest(module, batch, index)

    config = composed(*SHORT, *overrides, folder=folder)
    console = Console(file=io.StringIO(), width=200)
    if until == STEPS:
        run_job(config, console)
        return
    with monkeypatch.context() as broken:
        broken.setattr(GRPOModule, "training_step", stops)
        with pytest.raises(RuntimeError, match="the power went"):
            run_job(config, console)


def final_state(folder) -> dict:
    return torch.load(folder / "checkpoints" / f"step-{STEPS:06d}.ckpt", weights_only=True)


def check(whole, stopped) -> None:
    assert same_run(final_state(whole), final_state(stopped)) == []
    assert table(stopped) == table(whole)
    assert rollouts(stopped) == rollouts(whole)
    weights = "policy/model.safetensors"
    assert (stopped / weights).read_bytes() == (whole / weights).read_bytes()
    assert json.loads((stopped / "record.json").read_text())["resumed_after"] == [1, 2]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr("gainrl.app.run.draw_curves", lambda *given, **options: None)


def lives(tmp_path, monkeypatch, overrides):
    """The folders of the run that nobody stopped, and of the one that was stopped in an epoch and between two."""
    run(tmp_path / "whole", overrides)
    for until in (1, 2):
        run(tmp_path / "stopped", overrides, monkeypatch, until=until)
    run(tmp_path / "stopped", overrides)
    return tmp_path / "whole", tmp_path / "stopped"


@pytest.mark.parametrize("arm", arms(), ids=" ".join)
def test_every_curriculum_algorithm_signal_and_allocation_resumes_exactly(tmp_path, monkeypatch, arm):
    check(*lives(tmp_path, monkeypatch, [*arm, *(text for part in arm for text in NEEDS.get(part, []))]))


def test_a_run_in_bf16_mixed_precision_is_finite_and_resumes_exactly(tmp_path, monkeypatch):
    whole, stopped = lives(tmp_path, monkeypatch, ["trainer.precision=bf16-mixed", "algorithm.objective.beta=0.04"])
    check(whole, stopped)
    with open(whole / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    logged = ("grad_norm", "entropy/informative", "kl", "eval/accuracy")
    assert all(math.isfinite(float(rows[-1][name])) for name in logged)
    assert float(rows[-1]["nonfinite_updates"]) == 0
    assert any(float(row["grad_norm"] or 0) > 0 for row in rows)
    assert {value.dtype for value in final_state(whole)["weights"].values()} == {torch.float32}
