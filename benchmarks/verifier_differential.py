r"""Holds the judge of mathematical answers, and math-verify, against rewritten reference answers.

    python -m benchmarks.verifier_differential --data-dir DATA [--sets math500 ...] [--each 2] [--out FOLDER]

Every published reference answer is rewritten so that its value is kept and so that it changes (`benchmarks.rewritings`
says how), and judged by gainrl and by math-verify. False "correct" is a changed value that is judged correct, false
"wrong" a kept value that is not. What gainrl gets wrong, and what it and math-verify say differently, must be explained
in ``verifier_explained.json``; the exit status is 1 otherwise. DATA is the folder that GAINRL_DATA names.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.rewritings import CHANGING, KEEPING, rewritten
from gainrl.rewards.workers import Outcome, WorkerPool

# Set -> files, and how many of their rows (drawn by a fixed seed; None: all).
SETS: dict[str, tuple[tuple[str, ...], int | None]] = {
    "math500": (("math500_test",), None),
    "olympiadbench": (("olympiadbench_test",), None),
    "minerva": (("minerva_math_test",), None),
    "amc": (("amc_train", "amc_test"), None),
    "aime": (("aime_train", "aime24_test"), None),
    "gsm8k": (("gsm8k_test",), None),
    "math": (("math_train",), 2000),
    "deepscaler": (("deepscaler_partial_train",), 2000),
}
EXPLAINED = Path(__file__).with_name("verifier_explained.json")


@dataclass(frozen=True, slots=True)
class Pair:
    """A reference and one rewriting of it."""

    id: str
    reference: str
    answer: str
    rewriting: str
    same: bool
    is_list: bool = False


def gainrl_says(answer: str, reference: str, is_list: bool) -> bool:
    """The verdict of this project's judge; runs in a worker."""
    from gainrl.rewards.equivalence import compare

    return compare(answer, [reference], None, is_list)[0] == "correct"


def math_verify_says(answer: str, reference: str, is_list: bool) -> bool:
    """The verdict of math-verify as its documentation calls it; runs in a worker."""
    from math_verify import parse, verify

    expected, given = (parse(rf"\boxed{{{text}}}", parsing_timeout=None) for text in (reference, answer))
    return bool(verify(expected, given, timeout_seconds=None))


def read_rows(data_dir: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a set, all or as many as `SETS` says."""
    files, most = SETS[name]
    rows: list[dict[str, Any]] = []
    for file in files:
        with gzip.open(data_dir / f"{file}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows += [json.loads(line) for line in lines]
    return rows if most is None or most >= len(rows) else random.Random(0).sample(rows, most)


def pairs_of(rows: Iterable[dict[str, Any]], each: int) -> list[Pair]:
    """At most ``each`` rewritings of either kind for each row, no pair of texts twice."""
    pairs: dict[tuple[str, str], Pair] = {}
    for row in rows:
        draws = random.Random(row["id"])
        is_list = bool(row.get("is_multiple_answer"))
        for rewritings, same in ((KEEPING, True), (CHANGING, False)):
            for name, answer in rewritten(row["answer"], rewritings, draws, each):
                pair = Pair(row["id"], row["answer"], answer, name, same, is_list)
                pairs.setdefault((pair.reference, answer), pair)
    return list(pairs.values())


def judge(function: str, pairs: list[Pair], workers: int) -> list[Outcome]:
    """What a judge says of each pair, in worker processes with a time limit."""
    pool = WorkerPool(
        function=f"benchmarks.verifier_differential:{function}",
        workers=workers,
        time_limit_seconds=60.0,
        batch_limit_seconds=36_000.0,
        memory_limit_megabytes=2048,
    )
    outcomes = pool.run([(pair.answer, pair.reference, pair.is_list) for pair in pairs])
    pool.close()
    return outcomes


def explanation(entries: list[dict[str, str]], kind: str, pair: Pair) -> str | None:
    """Why a verdict is as it is: an entry for this pair, or for its rewriting."""
    for entry in entries:
        rewriting, row = entry.get("rewriting", pair.rewriting), entry.get("id", pair.id)
        if (entry["kind"], rewriting, row) == (kind, pair.rewriting, pair.id):
            return entry["reason"]
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description="The judge of answers against rewritten reference answers")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--each", type=int, default=2, help="rewritings of either kind for each reference")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None, help="folder for the disagreements, one file for each set")
    options = parser.parse_args()
    entries = json.loads(EXPLAINED.read_text(encoding="utf-8")) if EXPLAINED.exists() else []
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    unexplained = 0
    print("set               kept  false wrong  math-verify  changed  false correct  math-verify")
    for name in options.sets:
        pairs = pairs_of(read_rows(options.data_dir, name), options.each)
        ours, theirs = (judge(judge_of, pairs, options.workers) for judge_of in ("gainrl_says", "math_verify_says"))
        listed = []
        for pair, our, their in zip(pairs, ours, theirs, strict=True):
            verdicts = [one.status == "done" and one.result for one in (our, their)]
            kept = "kept" if pair.same else "changed"
            totals[name][kept] += 1
            totals[name][f"ours wrong, {kept}"] += verdicts[0] != pair.same
            totals[name][f"theirs wrong, {kept}"] += verdicts[1] != pair.same
            if verdicts == [pair.same, pair.same]:
                continue
            false = "false correct" if verdicts[0] else "false wrong"
            kind = false if verdicts[0] != pair.same else f"math-verify {'misses' if pair.same else 'accepts'}"
            reason = explanation(entries, kind, pair)
            unexplained += reason is None
            listed.append(asdict(pair) | {"kind": kind, "ours": our.status, "theirs": their.status, "reason": reason})
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in listed)
            (options.out / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        print(row_of(name, totals[name]), flush=True)
        for row in [row for row in listed if row["reason"] is None][:20]:
            print(f"  {row['kind']}: {row['rewriting']} of {row['reference']!r} ({row['id']}): {row['answer']!r}")
    print(row_of("all", sum(totals.values(), Counter())))
    print(f"{unexplained} disagreements without an explanation in {EXPLAINED.name}")
    return int(unexplained > 0)


def row_of(name: str, count: Counter[str]) -> str:
    """One line of the table."""
    return (
        f"{name:14} {count['kept']:7} {count['ours wrong, kept']:12} {count['theirs wrong, kept']:12} "
        f"{count['changed']:8} {count['ours wrong, changed']:14} {count['theirs wrong, changed']:12}"
    )


if __name__ == "__main__":
    sys.exit(main())
