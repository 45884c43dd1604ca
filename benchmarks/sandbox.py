"""Correctness and speed of the code reward on the published problems.

    python -m benchmarks.sandbox --data-dir DATA [--isolation auto] [--workers 2]

Runs the 164 reference solutions of HumanEval and the 974 of MBPP, a stub for each, and 200 runs of a program that
reads stdin; prints verdicts and programs a second (the time of the self-test apart).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from collections import Counter
from pathlib import Path

from gainrl.rewards.code import CodeReward
from gainrl.rewards.code.selftest import HONEST
from gainrl.types import Problem

FILES = ("humaneval_test", "mbpp_prompt", "mbpp_train", "mbpp_validation", "mbpp_test")
FIELDS = ("tests", "entry_point", "test_setup")


def published(folder: Path, name: str) -> list[Problem]:
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        Problem(
            id=row["id"],
            question=row["problem"],
            reference_answer="",
            solution=row["solution"],
            extra={field: row[field] for field in FIELDS if field in row},
        )
        for row in rows
    ]


def measure(title: str, reward: CodeReward, completions: list[str], problems: list[Problem], expected: str) -> None:
    start = time.perf_counter()
    verdicts = reward.score(completions, problems)
    seconds = time.perf_counter() - start
    counts = Counter(verdict.detail.partition(":")[0] for verdict in verdicts)
    shown = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    print(f"{title:<22} {len(verdicts):5d} programs {seconds:7.1f} s {len(verdicts) / seconds:7.1f}/s   {shown}")
    for problem, verdict in zip(problems, verdicts, strict=True):
        if (verdict.correct) != (expected == "pass"):
            print(f"    unexpected: {problem.id} {verdict.detail}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--isolation", default="auto")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("GAINRL_DATA"))
    options = parser.parse_args()
    folder = Path(options.data_dir or parser.error("give --data-dir, or GAINRL_DATA, the folder with the problems"))
    start = time.perf_counter()
    reward = CodeReward(isolation=options.isolation, workers=options.workers, time_limit_seconds=30)
    print(f"start and self-test {time.perf_counter() - start:.1f} s   {reward.stamp}")
    problems = [problem for name in FILES for problem in published(folder, name)]
    solutions = [f"```python\n{problem.solution}\n```" for problem in problems]
    stubs = [f"def {p.extra['entry_point']}(*args, **kwargs):\n    return object()\n" for p in problems]
    measure("reference solutions", reward, solutions, problems, "pass")
    measure("stubs", reward, stubs, problems, "fail")
    additions = [
        Problem(f"add-{n}", "Add one.", "", extra={"tests": {"inputs": [f"{n}\n"], "outputs": [f"{n + 1}\n"]}})
        for n in range(200)
    ]
    measure("stdin, one input", reward, [HONEST] * len(additions), additions, "pass")
    reward.close()


if __name__ == "__main__":
    main()
