"""Real processes that train in a directory until they are done or somebody kills them.

The processes are forked from a server that has imported everything, so that a life costs its training and not its
imports. ``at`` makes something happen at a named point: by default the life ends itself with SIGKILL, and nothing of
Python's runs after it. The job of a sweep takes the process that waits for it along.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["gainrl.app.train", "gainrl.app.run", "tests.faults.lives", "transformers.models.llama.modeling_llama"]
)
ROOT = Path(__file__).parents[2]

# The smallest model and pool that learn something, whoever judges: no answer of a model without a warm start is right.
TINY = (
    "model.hidden_size=16",
    "model.intermediate_size=32",
    "model.heads=2",
    "model.warm_start=null",
    "optimizer.optimizer.lr=1e-2",
    "dataset.train_per_level=8",
    "dataset.held_out_per_level=4",
    "reward=custom",
    f"reward.path={ROOT}/tests/faults/coin.py:score",
)

# Name: where the process dies, and whether before the call, after it, or with half of its file written.
POINTS: dict[str, tuple[str, str]] = {
    "rollout": ("gainrl.rollouts.hf:HFEngine.generate", "before"),
    "token": ("gainrl.rollouts.sampling:draw_tokens", "before"),
    "reward": ("gainrl.training.collection:score_rollout", "before"),
    "after reward": ("gainrl.training.collection:score_rollout", "after"),
    "forward": ("gainrl.training.learner:Learner.micro_batch_loss", "before"),
    "backward": ("gainrl.training.grpo:GRPOModule.manual_backward", "before"),
    "optimizer": ("torch.optim.adamw:AdamW.step", "before"),
    "after optimizer": ("torch.optim.adamw:AdamW.step", "after"),
    "refresh": ("gainrl.training.callbacks.refresh:SignalRefresh._measure", "before"),
    "part of a signal": ("gainrl.signals.cache:ValueStore.add_part", "after"),
    "after refresh": ("gainrl.training.callbacks.refresh:SignalRefresh._measure", "after"),
    "end of an epoch": ("gainrl.training.callbacks.refresh:SignalRefresh.on_train_epoch_end", "after"),
    "evaluation": ("gainrl.training.callbacks.evaluation:Evaluation.measure", "before"),
    "after evaluation": ("gainrl.training.callbacks.evaluation:Evaluation.measure", "after"),
    "table": ("gainrl.training.callbacks.records:MetricsTable.append", "torn"),
    "rollout records": ("gainrl.training.callbacks.records:Records._write_rollouts", "torn"),
    "before rollout records": ("gainrl.training.callbacks.records:Records._write_rollouts", "before"),
    "row": ("gainrl.training.callbacks.records:Records._write", "after"),
    "checkpoint": ("gainrl.training.callbacks.checkpoint:collect_state", "before"),
    "half a checkpoint": ("torch:save", "torn"),
    "draft of a checkpoint": ("os:replace", "before"),
    "after a checkpoint": ("gainrl.training.upkeep.checkpoints:CheckpointStore.save", "after"),
    "export": ("gainrl.app.run:export_policy", "before"),
    "after export": ("gainrl.app.run:export_policy", "after"),
}


class Life:
    """One ``gainrl-train`` with ``overrides`` in ``folder``; its output goes to ``folder.log``.

    ``at``: a point and the number of its call, counted from 0; ``act``: what happens there (`ACTS`).
    """

    def __init__(
        self,
        folder: Path,
        overrides: list[str],
        cache: Path,
        at: tuple[str, int] | None = None,
        act: str = "die",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.process = _SERVER.Process(
            target=_live, args=(folder, overrides, cache, at, act, dict(environment or {})), daemon=False
        )
        self.process.start()

    def end(self, timeout: float = 1200) -> int:
        """The exit code; negative for the signal that ended it."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"a life went on for more than {timeout} s")
        return int(self.process.exitcode)

    def wait_for(self, path: Path, content: str = "", timeout: float = 1200) -> None:
        """Until a file exists and holds ``content``."""
        until = time.monotonic() + timeout
        while not (path.exists() and content in path.read_text()):
            assert time.monotonic() < until, f"{path} did not come to hold {content!r}"
            if (code := self.process.exitcode) is not None:
                said = Path(f"{self.folder}.log").read_text()[-3000:]
                raise AssertionError(f"the life ended with {code} before {path}:\n{said}")
            time.sleep(0.02)

    @staticmethod
    def wait_for_end_of(lock: Path, timeout: float = 1200) -> None:
        """Until a run directory's lock is released."""
        until = time.monotonic() + timeout
        while lock.read_text():
            assert time.monotonic() < until, f"{lock} is still held"
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def kill_all(self) -> None:
        """SIGKILL for the life and everything that it started in its session."""
        assert self.process.pid is not None
        os.killpg(self.process.pid, signal.SIGKILL)

    def kill_after(self, seconds: float) -> int:
        """Lets it live so long at most, and kills it."""
        self.process.join(seconds)
        if self.process.exitcode is None and self.process.pid is not None:
            os.kill(self.process.pid, signal.SIGKILL)
        return self.end()


def _live(
    folder: Path, overrides: list[str], cache: Path, at: tuple[str, int] | None, act: str, environment: dict[str, str]
) -> None:
    os.setsid()
    output = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ |= {"GAINRL_CACHE": str(cache), "PYTHONPATH": str(ROOT), "COLUMNS": "200"} | environment
    from gainrl.app.train import cli

    if at is not None:
        _arm(*at, act)
    sys.argv = ["gainrl-train", *overrides]
    if not any(override.startswith("hydra.") for override in overrides):
        sys.argv.append(f"hydra.run.dir={folder}")
    try:
        cli()
    finally:
        if "joblib.externals.loky" in sys.modules:
            # A forked server's child waits for joblib's idle workers, which the exit of a command would have ended.
            sys.modules["joblib.externals.loky"].get_reusable_executor().shutdown()


def _arm(point: str, call: int, act: str) -> None:
    target, moment = POINTS[point]
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, _eventful(getattr(owner, name), moment, call, ACTS[act]))


def _eventful(function: Callable, moment: str, call: int, act: Callable[[], None]) -> Callable:
    left = call

    @functools.wraps(function)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        now, left = left == 0, left - 1
        if not now:
            return function(*arguments, **named)
        if moment == "before":
            act()
        result = function(*arguments, **named)
        if moment == "torn":
            _tear(arguments)
        if moment != "before":
            act()
        return result

    return wrapper


def _tear(arguments: tuple) -> None:
    """Takes the last bytes off what the call has written."""
    for argument in arguments:
        file = getattr(argument, "path", None) or getattr(argument, "folder", None)
        if hasattr(argument, "fileno"):  # the open draft of a checkpoint
            argument.flush()
            argument.truncate(argument.tell() // 2)
        elif isinstance(file, Path):
            file = file / "rollouts.jsonl" if file.is_dir() else file
            os.truncate(file, file.stat().st_size - 9)


def _die() -> None:
    if {"-m", "--multirun"} & set(sys.argv):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _die_alone() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fill_disk() -> None:
    """Leaves no byte on the file system of the run; ``GAINRL_TEST_FILLER`` names the file that takes the room."""
    with contextlib.suppress(OSError), open(os.environ["GAINRL_TEST_FILLER"], "wb", buffering=0) as filler:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(b"x" * size)


def _kill_children(mark: str) -> None:
    """Ends the processes that this one started and whose command line holds ``mark``."""
    ours = str(os.getpid())
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            if parent == ours and mark in (entry / "cmdline").read_text():
                found.append(int(entry.name))
    assert found, f"no process of {mark}"
    for number in found:
        os.kill(number, signal.SIGKILL)


ACTS: dict[str, Callable[[], None]] = {
    "die": _die,
    "die alone": _die_alone,
    "fill the disk": _fill_disk,
    "kill the reward workers": lambda: _kill_children("gainrl.rewards.worker_process"),
    "kill W&B": lambda: _kill_children("wandb-core"),
}
