"""Does the default learn on this machine, whatever instructions it computes with?

    python -m benchmarks.default_everywhere [--seeds 0 1 2] [--capabilities default avx2 avx512] [overrides]

Runs ``gainrl-train`` once for each seed under each ``ATEN_CPU_CAPABILITY`` that this processor has, and shows held-out
accuracy before and after. A run passes if it lifts accuracy by 15 points or more, and with the processor's own
instructions takes five minutes or less. Instruction sets that the processor lacks are named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.tables import print_table

ALL = ("default", "avx2", "avx512")
WANTED = 0.15
MOST_SECONDS = 300.0  # with the processor's own instructions


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--capabilities", nargs="+", choices=ALL, default=list(ALL))
    options, overrides = parser.parse_known_args(given)
    own = torch.backends.cpu.get_cpu_capability().lower()
    known = ALL[: ALL.index(own) + 1] if own in ALL else (own,)
    absent = [name for name in options.capabilities if name not in known]
    if absent:
        print(f"this processor computes with {own} and has no {', '.join(absent)}: left out\n")
    rows: list[list[str | float]] = []
    for capability in options.capabilities:
        if capability in known:
            rows += [run(capability, seed, overrides) for seed in options.seeds]
    print_table(["instructions", "seed", "before", "after", "lift", "seconds"], rows)
    lifts = [float(row[4]) for row in rows]
    print(f"lift from {min(lifts):+.3f} to {max(lifts):+.3f} over {len(lifts)} runs")
    if min(lifts) < WANTED:
        raise SystemExit(f"a run lifts accuracy by less than {WANTED}")
    times = [float(row[5]) for row in rows if row[0] == own]
    if not times:
        print(f"no run computed with {own}, this processor's own: the limit of {MOST_SECONDS:.0f} s is not judged")
    elif (slowest := max(times)) > MOST_SECONDS:
        raise SystemExit(f"a run with {own} takes {slowest:.0f} s, more than {MOST_SECONDS:.0f}")


def run(capability: str, seed: int, overrides: list[str]) -> list[str | float]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "gainrl.app.train", f"seed={seed}", f"hydra.run.dir={name}/run", "logger=none"]
        environment = os.environ | {"ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*command, *overrides], capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise SystemExit(f"the run failed:\n{(done.stdout + done.stderr)[-3000:]}")
        record = json.loads((Path(name) / "run" / "record.json").read_text())
    before, after = (record["metrics"][f"accuracy_{end}"] for end in ("initial", "final"))
    row: list[str | float] = [capability, str(seed), before, after, after - before, record["wall_seconds"]]
    print(*row, flush=True)
    return row


if __name__ == "__main__":
    main()
