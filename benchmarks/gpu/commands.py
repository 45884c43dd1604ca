"""Checks of the command itself: signals and resuming, torchrun, sweeps. Each runs in processes of its own."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.check import Outcome, Setting
from gainrl.models.tiny import TinyModel

ROOT = Path(__file__).parents[2]
# A run of seconds: the default at a size without meaning, without a warm start, rewarded by a coin.
_ANY_MODEL = (
    "debug=fast",
    "dataset.train_per_level=8",
    "dataset.held_out_per_level=2",
    "schedule.prompts_per_step=4",
    "algorithm.group_size=4",
    "rollout.max_new_tokens=8",
    "evaluation.samples=0",
    "evaluation.limit=1",
    "reward=custom",
    f"reward.path={Path(__file__).with_name('coin.py')}:score",
)
SMALL = (
    *_ANY_MODEL,
    "model.hidden_size=16",
    "model.intermediate_size=32",
    "model.layers=1",
    "model.heads=2",
    "model.warm_start=null",
)
_STEPS = 30


@dataclass(slots=True)
class Started:
    """A command that is running; its output goes to ``log``."""

    process: subprocess.Popen[bytes]
    folder: Path
    log: Path

    def end(self, timeout: float = 240) -> int:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def last_words(self) -> str:
        return " ".join(self.log.read_text(errors="replace").split())[-300:]


def start(
    setting: Setting, name: str, overrides: Sequence[str], *, launcher: Sequence[str] = (), own_folder: bool = True
) -> Started:
    """``gainrl-train`` with ``overrides`` and no logger, in a folder of its own; the same name goes on with it."""
    folder = setting.folder / name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    place = [f"hydra.run.dir={folder / 'run'}"] if own_folder else [f"hydra.sweep.dir={folder / 'run'}"]
    if not any(text.startswith("trainer.accelerator=") for text in overrides):
        place.append(f"trainer.accelerator={setting.accelerator}")
    log = folder / "log"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GAINRL_CACHE": str(folder / "cache")}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *launcher, "-m", "gainrl.app.train", *overrides, *place, "logger=none"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    return Started(process, folder / "run", log)


def completions_of(folder: Path) -> list[list[str]]:
    """The completions of a run by step."""
    steps: dict[int, list[str]] = {}
    path = folder / "rollouts.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        record = json.loads(line)
        steps.setdefault(int(record["step"]), []).append(record["completion"])
    return [steps[step] for step in sorted(steps)] or [[]]


def rows_of(folder: Path) -> list[dict[str, float]]:
    """metrics.csv as numbers, without what a clock or the allocator says."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open() as file:
        return [
            {name: float(value) for name, value in row.items() if _comparable(name, value)}
            for row in csv.DictReader(file)
        ]


def _comparable(name: str, value: str | None) -> bool:
    measured = ("seconds", "bytes", "memory_retries")
    return bool(value) and not any(word in name for word in measured) and _is_number(str(value))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def largest_difference(one: Path, other: Path, names: Sequence[str] = ()) -> float:
    """Over all metrics, or those named; infinite where the runs have other rows."""
    first, second = rows_of(one), rows_of(other)
    if not first or len(first) != len(second):
        return float("inf")
    return max(
        (
            abs(a[name] - b[name])
            for a, b in zip(first, second, strict=True)
            for name in (names or a.keys())
            if name in a and name in b and a[name] == a[name]
        ),
        default=float("inf"),
    )


def stopped_and_resumed(setting: Setting) -> Outcome:
    """A run of all weights and one of adapters: stopped by a signal, taken up by the same command."""
    source = setting.folder / "model"
    policy = TinyModel(hidden_size=16, intermediate_size=32, layers=1, heads=2, max_length=256).load()
    policy.model.save_pretrained(source)
    policy.tokenizer.save_pretrained(source)
    adapters = ["model=hub", f"model.source={source}", "model.lora_rank=2", *_ANY_MODEL]
    kinds = {"plain": list(SMALL), "LoRA": adapters}
    common = [f"schedule.steps={_STEPS}", "trainer.precision=32-true", "evaluation.every=100"]
    through = {name: start(setting, f"through {name}", [*kind, *common]) for name, kind in kinds.items()}
    lives = {name: start(setting, f"stopped {name}", [*kind, *common]) for name, kind in kinds.items()}
    figures, passed = {}, True
    for life in lives.values():
        _wait_for_row(life, 2)
        life.process.send_signal(signal.SIGTERM)
    codes = {name: [life.end()] for name, life in lives.items()}
    again = {name: start(setting, f"stopped {name}", [*kind, *common]) for name, kind in kinds.items()}
    for name, life in again.items():
        codes[name] += [life.end(), through[name].end()]
        away = largest_difference(life.folder, through[name].folder)
        accepted = codes[name] == [75, 0, 0]
        text = "accepted" if accepted else f"exit codes {codes[name]}: {life.last_words()}"
        figures[name] = f"{text}, metrics {away:.1e} away"
        passed = passed and accepted
    return Outcome(figures, passed)


def _wait_for_row(life: Started, step: int, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    path = life.folder / "metrics.csv"
    while time.monotonic() < until and life.process.poll() is None:
        if path.exists() and path.read_text().count("\n") > step:
            return
        time.sleep(0.02)


def one_rank(setting: Setting) -> Outcome:
    """torchrun with one process, in ``ddp`` and ``fsdp``, against the same run without it."""
    common = [*SMALL, "schedule.steps=4", "trainer.precision=32-true", "algorithm.objective.beta=0.04"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    single = start(setting, "one process", common)
    several = {
        name: start(setting, f"torchrun {name}", [*common, f"trainer={name}"], launcher=launcher)
        for name in ("ddp", "fsdp")
    }
    code = single.end()
    figures, passed = {}, code == 0
    for name, life in several.items():
        code = life.end()
        away = largest_difference(life.folder, single.folder, ["loss", "policy_loss", "grad_norm"])
        figures[name] = f"loss {away:.1e} away" if code == 0 else f"exit code {code}: {life.last_words()}"
        passed = passed and code == 0 and away <= 1e-4
    return Outcome(figures, passed)


def two_jobs(setting: Setting) -> Outcome:
    """A sweep of two seeds, one after the other."""
    life = start(setting, "sweep", ["-m", *SMALL, "schedule.steps=2", "seed=0,1"], own_folder=False)
    code = life.end()
    return Outcome({"exit code": str(code) if code == 0 else f"{code}: {life.last_words()}"}, code == 0)
