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
from gainrl.datasets.arithmetic import arithmetic
from gainrl.training.grpo import GRPOModule
from tests.composition import MIXTURE, SMALL, composed, options
from tests.curricula.simulated import strong_model
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
JUDGED_APART = [
    "dataset.weights={short:2,long:1}",
    "template=by_source",
    "+template@template.templates.short=arithmetic",
    "+template@template.templates.long=question_only",
    "reward=by_source",
    "+reward@reward.rewards.short=custom",
    "reward.rewards.short.path=tests.composition:coin",
    "+reward@reward.other=custom",
    "reward.other.path=tests.composition:coin",
]
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
BOTS = ["baseline=bots", "curriculum.implicit=0.2", "signal.samples=2"]
BY_NAME = {
    "mopps": ["curriculum=mopps"],
    "bots, with its implicit evidence": [*BOTS, "curriculum.strong=STRONG"],
    "vcrl, from its bank": ["baseline=vcrl"],
    "dots, with rollouts again": ["baseline=dots", "signal.samples=2"],
    "spo, one completion a prompt": ["baseline=spo", "signal.samples=2", "algorithm.group_size=1"],
    "pcl, on the states of the policy": ["baseline=pcl"],
    "knapsack, of prompts seen before": ["baseline=vanilla_grpo", "allocation=knapsack", "data_limit=6"],
    "coba, of prompts seen before": ["baseline=vanilla_grpo", "allocation=coba", "data_limit=6"],
    "a bandit over the sources of a mixture": ["baseline=source_bandit", *MIXTURE, *JUDGED_APART],
    "muon": ["optimizer=muon"],
    "muon, on float32 masters": ["optimizer=muon", "trainer.precision=bf16-master"],
    "8-bit adamw": ["optimizer=adamw_8bit", "optimizer.optimizer.smallest=64"],
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

    # A mixture has data sets, and judges, of its own.
    short = [
        text
        for text in SHORT
        if "dataset=mixture" not in overrides or not text.startswith(("dataset", "model.warm", "reward"))
    ]
    config = composed(*short, *overrides, folder=folder)
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


@pytest.mark.parametrize("arm", BY_NAME)
def test_methods_resume_exactly_with_all_that_is_theirs(tmp_path, monkeypatch, arm):
    if arm == "8-bit adamw":
        pytest.importorskip("bitsandbytes", reason="needs pip install 'gainrl[bitsandbytes]'")
    strong = strong_model(tmp_path, arithmetic(terms=(2, 3), train_per_level=12, held_out_per_level=4))
    whole, stopped = lives(tmp_path, monkeypatch, [text.replace("STRONG", str(strong)) for text in BY_NAME[arm]])
    check(whole, stopped)
    with open(whole / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    if "seen before" in arm:
        sizes = [[float(row[f"allocation/{size}_group"]) for size in ("smallest", "largest")] for row in rows[1:]]
        assert any(largest > smallest for smallest, largest in sizes)
    if "bank" in arm:
        assert float(rows[-1]["curriculum/replayed"]) > 0
    if "mixture" in arm:
        assert any(float(row["selection/source_short"] or 0) > 0 for row in rows)
        assert {"selection/source_short", "eval/accuracy/source_long"} <= set(rows[-1])
        assert {record["source"] for record in rollouts(whole)} == {
            "reasoning_gym/running_totals/short",
            "reasoning_gym/running_totals/long",
        }


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
