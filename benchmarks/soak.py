"""Judges without pause for a while and watches for growth: memory, processes, open files, threads, scratch files.

    python -m benchmarks.soak [--minutes 30] [--isolation auto]

Right, wrong and hostile answers go through the rewards of mathematics, generated tasks and programs, with caches so
small that they are full after the first minute. A sample is taken every half minute, once all rewards have judged. The
first quarter of the samples is left out; of the rest, the last half must not lie above the first by more than
`GROWTH`. Exits with 1 where it does, where a verdict is not the expected one, or where a process is left at the end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from gainrl.rewards.code import CodeReward
from gainrl.rewards.math import MathReward
from gainrl.rewards.procedural import ProceduralReward
from gainrl.types import Judgement, Problem

SAMPLE_SECONDS = 30.0
HOSTILE_EVERY = 4  # rounds: an answer that runs into the time limit of its worker
# What noise may add: pages that the allocator keeps, and workers that are being replaced while the sample is taken.
GROWTH = {"memory": 32.0, "children": 2.0, "files": 2.0, "threads": 1.0, "scratch": 0.0}

ADD = {"inputs": [[1, 2], [3, 4]], "outputs": [[3], [7]], "fn_name": "add"}
DOUBLE = {"inputs": ["1\n", "2\n"], "outputs": ["2\n", "4\n"]}
MATH = [
    (r"\boxed{\frac{%d}{2}}", r"\frac{%d}{2}", "correct"),
    (r"\boxed{\frac{%d}{3}}", r"\frac{%d}{2}", "wrong"),
    (r"\boxed{x^2 + %d}", r"%d + x^2", "correct"),
    (r"no box for %d", r"%d", "unparsable"),
    (r"\boxed{9^{9^{9^{%d}}}}", r"\frac{%d}{2}", "wrong or timeout"),  # the last: it costs a worker
]
CODE = [
    ("def add(a, b):\n    return a + b  # %d", ADD, "correct"),
    ("class Solution:\n    def add(self, a, b):\n        return a - b - %d", ADD, "wrong"),
    ("print(2 * int(input()))  # %d", DOUBLE, "correct"),
    ("import os\nfor _ in range(99): os.fork()\n# %d", DOUBLE, "wrong"),
    # On a busy machine the clock ends it before its memory does.
    ("kept = []  # %d\nwhile True: kept.append(bytearray(1 << 24))", DOUBLE, "wrong or timeout"),
    ("open('left', 'w').write('x' * 999)  # %d\nprint(2 * int(input()))", DOUBLE, "correct or wrong"),
    ("while True: pass  # %d", DOUBLE, "timeout"),
]


@dataclass(frozen=True, slots=True)
class Sample:
    """``memory``: resident MB of this process. ``children``: processes below it. The rest are counts."""

    memory: float
    children: float
    files: float
    threads: float
    scratch: float


def sample(scratch: Path) -> Sample:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return Sample(
        memory=int(status["VmRSS"].split()[0]) / 1024,
        children=len(descendants(os.getpid())),
        files=len(os.listdir("/proc/self/fd")),
        threads=int(status["Threads"]),
        scratch=sum(1 for _ in scratch.rglob("*")),
    )


def descendants(pid: int) -> list[int]:
    """All processes below one, as far as they still run."""
    children: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:  # the process has ended
        return []
    for task in tasks:
        try:
            children += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except OSError:  # the thread has ended
            continue
    return children + [below for child in children for below in descendants(child)]


def rounds(isolation: str) -> Iterator[list[str]]:
    """Judges one batch with every reward; yields the verdicts that were not the expected ones. Never ends."""
    mathematics = MathReward(workers=1, time_limit_seconds=10.0, cache_size=100)  # a loaded machine takes its time
    generated = ProceduralReward(workers=1, time_limit_seconds=10.0)
    programs = CodeReward(isolation=isolation, workers=1, time_limit_seconds=2.0, memory_mb=256, cache_size=100)
    try:
        for number in count(1):
            odd = 2 * number + 1
            answers = MATH if number % HOSTILE_EVERY == 1 else MATH[:-1]
            yield [
                *_judged(mathematics, [(text % odd, {}, gold % odd, wanted) for text, gold, wanted in answers]),
                *_judged(programs, [(text % odd, {"tests": tests}, "", wanted) for text, tests, wanted in CODE]),
                *_judged(generated, [_sum(odd, odd), _sum(odd, odd + 1)]),
            ]
    finally:
        for reward in (mathematics, generated, programs):
            reward.close()


def _sum(number: int, given: int) -> tuple[str, dict[str, Any], str, str]:
    entry = {"question": f"{number} + 0 =", "answer": str(number), "metadata": {}}
    wanted = "correct" if number == given else "wrong"
    return rf"\boxed{{{given}}}", {"task": "chain_sum", "entry": entry}, str(number), wanted


def _judged(reward: Any, rows: Sequence[tuple[str, dict[str, Any], str, str]]) -> list[str]:
    problems = [Problem(str(place), "", gold, extra=extra) for place, (_, extra, gold, _) in enumerate(rows)]
    verdicts = reward.score([text for text, *_ in rows], problems)
    return [
        f"{text!r} is {verdict.judgement} ({verdict.detail}), not {wanted}"
        for (text, _, _, wanted), verdict in zip(rows, verdicts, strict=True)
        if verdict.judgement not in wanted.split(" or ") or verdict.judgement is Judgement.ERROR
    ]


def growth(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """The medians of the first and of the last half, after the first quarter, by what was measured."""
    settled = samples[len(samples) // 4 :]
    half = len(settled) // 2
    first, last = settled[:half], settled[half:]
    return {name: (median(getattr(s, name) for s in first), median(getattr(s, name) for s in last)) for name in GROWTH}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--isolation", default="auto")
    parser.add_argument("--sample-seconds", type=float, default=SAMPLE_SECONDS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # where a reward that leaves scratch files would leave them
        samples, unexpected, batches = watch(
            options.isolation, options.minutes * 60, options.sample_seconds, Path(folder)
        )
        tempfile.tempdir = None
    left = descendants(os.getpid())
    judged = batches * (len(MATH) - 1 + len(CODE) + 2) + -(-batches // HOSTILE_EVERY)
    print(f"{judged} answers in {batches} rounds and {options.minutes:g} minutes, {len(samples)} samples")
    faults = [f"{len(left)} processes left"] * bool(left) + sorted(set(unexpected))
    for name, (first, last) in growth(samples).items():
        print(f"  {name:<9} {first:8.1f} then {last:8.1f}")
        if last - first > GROWTH[name]:
            faults.append(f"{name} grew by {last - first:.1f}, more than {GROWTH[name]}")
    print("; ".join(faults) or f"no growth, 0 unexpected verdicts, {len(left)} processes left")
    sys.exit(1 if faults else 0)


def watch(isolation: str, seconds: float, every: float, scratch: Path) -> tuple[list[Sample], list[str], int]:
    """Samples taken while batches are judged, the unexpected verdicts, and the number of batches."""
    samples: list[Sample] = []
    unexpected: list[str] = []
    start = next_sample = time.monotonic()
    judging = rounds(isolation)
    batches = 0
    for wrong in judging:
        batches += 1
        unexpected += wrong
        now = time.monotonic()
        if now >= next_sample:
            samples.append(sample(scratch))
            next_sample = now + every
        if now - start >= seconds and len(samples) >= 8:
            break
    judging.close()
    return samples, unexpected, batches


if __name__ == "__main__":
    main()
