"""How long a person waits for help, a refusal, the shortest run, and the report of a large sweep.

    python -m benchmarks.startup [--repeats 5] [--runs 500]

Each command is a process of its own on one thread: medians of ``--repeats``; the run and the report are timed once. The
report is of made-up runs of ten arms: 81 rows of metrics.csv with nine evaluations, and a verdict for each of 350
problems.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from benchmarks.tables import print_goal, print_table

STEPS, EVERY, PROBLEMS, ARMS = 80, 10, 350, 10


def seconds_of(module: str, arguments: list[str], *, status: int = 0) -> float:
    """Wall time of ``python -m module``; raises RuntimeError where it ends with another status."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    begun = time.perf_counter()
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode != status:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return seconds


def write_runs(root: Path, count: int) -> None:
    """``count`` finished runs of ``ARMS`` baselines, of which no two are equal."""
    rng = np.random.default_rng(0)
    for number in range(count):
        arm, seed = f"method_{number % ARMS}", number // ARMS
        folder = root / f"baseline-{arm}" / f"s{seed}"
        folder.mkdir(parents=True)
        overrides = [f"baseline={arm}", f"seed={seed}"]
        run = {"arm": f"baseline-{arm}", "experiment": None, "sweep": "curricula", "overrides": overrides}
        config = {
            "seed": seed,
            "model": {"seed": 0},
            "schedule": {"steps": STEPS, "prompts_per_step": 16},
            "algorithm": {"group_size": 8},
            "evaluation": {"every": EVERY},
            "run": run,
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        lines = ["step,updates,prompts_seen,rollouts,generated_tokens,wall_seconds,reward,grad_norm,eval/accuracy"]
        marks = []
        for step in range(STEPS + 1):
            accuracy = ""
            if step % EVERY == 0:
                right = rng.random(PROBLEMS) < 0.4 + 0.2 * step / STEPS
                accuracy = f"{right.mean():.6f}"
                marks.append({"step": step, "verdicts": "".join("01"[mark] for mark in right.astype(int))})
            spent = f"{step},{step},{16 * step},{128 * step},{4000 * step},{0.4 * step:.3f}"
            lines.append(f"{spent},{rng.random():.6f},1.0,{accuracy}")
        (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
        (folder / "evaluations.jsonl").write_text("".join(f"{json.dumps(mark)}\n" for mark in marks))
        record = {"fingerprint": f"{arm}{seed}", "status": "finished", "git_commit": "0" * 16, "wall_seconds": 40.0}
        (folder / "record.json").write_text(json.dumps(record))


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runs", type=int, default=500)
    options = parser.parse_args(given)

    def median(arguments: list[str], *, status: int = 0) -> float:
        times = [seconds_of("gainrl.app.train", arguments, status=status) for _ in range(options.repeats)]
        return statistics.median(times)

    with tempfile.TemporaryDirectory() as name:
        write_runs(Path(name) / "runs", options.runs)
        figures = [
            ("gainrl-train --help", 2.0, median(["--help"])),
            ("a refused command", 2.0, median(["schedule.stepz=3"], status=1)),
            (
                "gainrl-train debug=fast",
                15.0,
                seconds_of("gainrl.app.train", ["debug=fast", f"hydra.run.dir={name}/fast"]),
            ),
            (
                f"gainrl-report, {options.runs} runs",
                15.0,
                seconds_of("gainrl.report.cli", [f"{name}/runs", "--out", f"{name}/report"]),
            ),
        ]
    print_table(["command", "seconds", "goal"], [[what, seconds, goal] for what, goal, seconds in figures])
    for what, goal, seconds in figures:
        print_goal(what, goal, seconds, "s", at_most=True)


if __name__ == "__main__":
    main()
