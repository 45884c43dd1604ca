"""Runs of one process and of two that train together, as torchrun starts them."""

from __future__ import annotations

import csv
import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.faults.lives import ROOT, TINY, Life

STEPS = 4
SMALL = [
    "logger=none",
    "debug=fast",
    f"schedule.steps={STEPS}",
    "schedule.prompts_per_step=5",  # which two ranks cannot share evenly
    "schedule.steps_per_epoch=2",
    "algorithm.group_size=4",
    "rollout.max_new_tokens=8",
    "evaluation.every=2",
    "evaluation.limit=1",
    *TINY,
    "model.layers=2",
]


def alone(
    folder: Path,
    overrides: list[str],
    cache: Path,
    at: tuple[str, int] | None = None,
    *,
    small: Sequence[str] = SMALL,
) -> Life:
    """``at``: where it is killed, see `Life`; ``small``: what makes it so."""
    return Life(folder, [*small, *overrides], cache, at)


def together(
    folder: Path,
    overrides: list[str],
    cache: Path,
    size: int = 2,
    *,
    small: Sequence[str] = SMALL,
    at: tuple[str, int] | None = None,
) -> list[Life]:
    """The processes of one run, with the environment that torchrun gives them; all die at ``at``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "TORCHELASTIC_RUN_ID": "test",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
    }
    return [
        Life(
            folder,
            [*small, *overrides],
            cache,
            at,
            environment=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(size)
    ]


def started(folder: Path, overrides: list[str], cache: Path) -> subprocess.Popen:
    """``python -m gainrl.app.train``, which starts the other processes itself."""
    command = [sys.executable, "-m", "gainrl.app.train", *SMALL, *overrides, f"hydra.run.dir={folder}"]
    with open(f"{folder}.log", "a") as output:
        return subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"GAINRL_CACHE": str(cache)}, stdout=output, stderr=output
        )


def wait_for(path: Path, content: str, process: subprocess.Popen, timeout: float = 600) -> None:
    """Until a file holds ``content``."""
    until = time.monotonic() + timeout
    while not (path.exists() and content in path.read_text()):
        assert time.monotonic() < until, f"{path} did not come to hold {content!r}"
        assert process.poll() is None, f"the process ended with {process.returncode} before {path}"
        time.sleep(0.05)


def log(folder: Path) -> str:
    return Path(f"{folder}.log").read_text()


def record(folder: Path) -> dict:
    return json.loads((folder / "record.json").read_text())


def differences(one: Path, other: Path, *, close: float = 1e-4) -> list[str]:
    """Where two runs differ: every completion in any bit, numbers by more than ``close`` (relative, and of 1)."""
    found = []
    for name in ("rollouts.jsonl", "metrics.csv"):
        rows = [_rows(folder / name) for folder in (one, other)]
        if len(rows[0]) != len(rows[1]):
            found.append(f"{name}: {len(rows[0])} and {len(rows[1])} rows")
        for a, b in zip(*rows, strict=False):
            found += [
                f"{name} step {a['step']}: {key} is {a.get(key)!r} and {b.get(key)!r}"
                for key in a.keys() | b.keys()
                if not _same(a.get(key), b.get(key), close)
            ]
    ours, theirs = (load_file(folder / "policy" / "model.safetensors") for folder in (one, other))
    found += [
        f"weights {name}: by {float((ours[name] - theirs[name]).abs().max()):.2g}"
        for name in ours
        if not torch.allclose(ours[name], theirs[name], rtol=close, atol=close)
    ]
    return found


def table(folder: Path) -> list[dict[str, float]]:
    """metrics.csv without times and sizes; NaN where a row has no number."""
    return _rows(folder / "metrics.csv")


def _rows(path: Path) -> list[dict]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with open(path, newline="") as file:
        return [
            {key: float(v or "nan") for key, v in row.items() if "seconds" not in key and "bytes" not in key}
            for row in csv.DictReader(file)
        ]


def _same(one: object, other: object, close: float) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=close, abs_tol=close) or (math.isnan(one) and math.isnan(other))
    return one == other
