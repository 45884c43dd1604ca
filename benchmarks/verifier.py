r"""Answers judged per second on GSM8K and MATH, and what hostile answers cost.

    python benchmarks/verifier.py --data-dir DATA [--workers 2] [--rows 2000]

Half of the completions give the reference answer, half the answer of another problem; each is some 600 characters long.
A processor second is one of this process or of its workers: on a shared machine it says more than the clock.
GSM8K answers come as models write them: bare, with separators, currency, a unit, decimals or after ``####``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import time
from itertools import count
from pathlib import Path

from gainrl.rewards.math import MathReward
from gainrl.types import Problem

PROSE = "Each day she sells 12 boxes, so after 5 days she has sold 12 * 5 = 60 boxes. " * 8
GSM8K_FORMS = (
    r"\boxed{%s}",
    r"$\boxed{%s}$.",
    "#### %s",
    r"\boxed{\$%s}",
    r"\boxed{%s\text{ dollars}}",
    r"\boxed{%s apples}",
    r"\boxed{%s.00}",
)
HOSTILE = (
    "9^{9^{9^{9}}}",
    "100000000!",
    r"\binom{10^{9}}{10^{8}}",
    "(x+y+z+1)^{400}",
    r"\sum_{k=1}^{10000000000}\frac{1}{k^k}",
    "+".join(f"x_{{{index}}}" for index in range(400)),
    "(" * 2000 + "1" + ")" * 2000,
    r"\sqrt{" * 300 + "2" + "}" * 300,
    "1" * 4900,
    "1" * 10_000_000,
)


def read(data_dir: Path, name: str, rows: int) -> list[str]:
    with gzip.open(data_dir / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["answer"] for line in lines][:rows]


def completions(references: list[str], forms: tuple[str, ...]) -> list[str]:
    choice = random.Random(0)
    given = [reference if choice.random() < 0.5 else choice.choice(references) for reference in references]
    return [PROSE + choice.choice(forms) % answer for answer in given]


def measure(name: str, references: list[str], forms: tuple[str, ...], workers: int) -> None:
    reward = MathReward(workers=workers, time_limit_seconds=10.0, batch_limit_seconds=600.0)
    start_workers(reward)
    texts, problems = completions(references, forms), [Problem("", "", reference) for reference in references]
    begin, used = time.perf_counter(), processor_seconds(reward)
    verdicts = reward.score(texts, problems)
    seconds, used = time.perf_counter() - begin, processor_seconds(reward) - used
    begin = time.perf_counter()
    reward.score(texts, problems)
    again = time.perf_counter() - begin
    reward.close()
    counts: dict[str, int] = {}
    for verdict in verdicts:
        counts[str(verdict.judgement)] = counts.get(str(verdict.judgement), 0) + 1
    first, processor, remembered = (len(texts) / each for each in (seconds, used, again))
    print(f"{name:12} {len(texts):6} {first:12.0f} {processor:18.0f} {remembered:14.0f}   {counts}")


def start_workers(reward: MathReward) -> None:
    """Judges new answers until every worker has started."""
    for batch in count():
        warm = [rf"\boxed{{{batch}+\sqrt{{{index}}}}}" for index in range(100)]
        reward.score(warm, [Problem("", "", "1")] * len(warm))
        if all(worker.ready for worker in reward._pool._workers):
            return


def processor_seconds(reward: MathReward) -> float:
    """Processor time that this process and the workers of a reward have used."""
    used = time.process_time()
    for worker in reward._pool._workers:
        fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
        used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def measure_hostile(limit: float) -> None:
    """What each hostile answer costs, and how long the next one waits for the worker that replaces a killed one."""
    reward = MathReward(workers=1, time_limit_seconds=limit)
    start_workers(reward)
    print(f"\n{'hostile answer':42} {'verdict':12} seconds (limit {limit:g})   until the next")
    seconds: list[float] = []
    waits: list[float] = []
    for number, text in enumerate(HOSTILE):
        begin = time.perf_counter()
        verdict = reward.judge(rf"\boxed{{{text}}}", r"x + \frac{\pi}{7}")
        end = time.perf_counter()
        reward.judge(rf"\boxed{{x+{number}}}", f"{number}+x")
        seconds.append(end - begin)
        waits.append(time.perf_counter() - end)
        print(f"{text[:40]:42} {verdict.judgement:12} {seconds[-1]:17.2f} {waits[-1]:16.2f}")
    print(f"{'worst':42} {'':12} {max(seconds):17.2f} {max(waits):16.2f}")
    reward.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the verifier of mathematical answers")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rows", type=int, default=2000)
    options = parser.parse_args()
    print(
        f"data           rows    answers/s  /processor second   remembered/s   judgements ({options.workers} workers)"
    )
    plain = (r"\boxed{%s}",)
    measure("gsm8k plain", read(options.data_dir, "gsm8k_train", options.rows), plain, options.workers)
    measure("gsm8k", read(options.data_dir, "gsm8k_train", options.rows), GSM8K_FORMS, options.workers)
    measure("math", read(options.data_dir, "math_train", options.rows), plain, options.workers)
    measure_hostile(2.0)


if __name__ == "__main__":
    main()
