"""What a run spends on everything that is not rollout, reward or update, from its own accounts.

    python -m benchmarks.overhead [--steps 40] [overrides of gainrl-train]

Runs gainrl-train at the default size with its default logger, W&B offline. Measuring the signal and evaluating happen
once in many steps; they are listed and left out of the share. The warm start runs first where its weights are not
cached.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.tables import print_table

STEP = ("rollout", "reward", "logprobs", "values", "update")
RARE = ("refresh", "evaluation")


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    options, overrides = parser.parse_known_args(given)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        command = [
            *(sys.executable, "-m", "gainrl.app.train", f"schedule.steps={options.steps}"),
            *("evaluation.every=100000", "evaluation.limit=1", "evaluation.samples=0", f"hydra.run.dir={folder}"),
            *overrides,
        ]
        offline = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=offline)
        if done.returncode:
            raise SystemExit(f"the run failed:\n{(done.stdout + done.stderr)[-3000:]}")
        with open(folder / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        record = json.loads((folder / "record.json").read_text())
    first, last = rows[1], rows[-1]  # the first step imports and compiles what the others find ready
    steps = int(last["step"]) - int(first["step"])

    def seconds(phase: str) -> float:
        column = f"seconds/{phase}"
        return (float(last.get(column) or 0.0) - float(first.get(column) or 0.0)) / steps

    phases = [column.removeprefix("seconds/") for column in last if column.startswith("seconds/")]
    own = sum(seconds(phase) for phase in phases if phase not in RARE)
    rest = sum(seconds(phase) for phase in phases if phase not in (*RARE, *STEP))
    table: list[list[str | float]] = [
        [phase, 1000 * seconds(phase), "" if phase in RARE else f"{seconds(phase) / own:.2%}"]
        for phase in sorted(phases, key=lambda phase: -seconds(phase))
    ]
    table.append(["a step", 1000 * own, ""])
    table.append(["neither rollout, reward nor update", 1000 * rest, f"{rest / own:.2%}"])
    print_table([f"phase (means of {steps} steps)", "ms", "share of a step"], table)
    memory = {name: value / 2**20 for name, value in record["memory"].items()}
    print(
        f"Memory of that run: {memory['peak_bytes'] - memory['before_bytes']:.0f} MiB at the peak beyond what the "
        f"process held before, {memory['expected_bytes']:.0f} MiB expected.\n"
    )


if __name__ == "__main__":
    main()
