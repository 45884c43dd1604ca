r"""Holds the judge of mathematical answers, and math-verify, against rewritten reference answers.

    python -m benchmarks.verifier_differential --data-dir DATA --out FOLDER [--sets math500 ...] [--each 2]

Every published reference answer is rewritten so that its value is kept and so that it changes (`benchmarks.rewritings`
says how), and judged by gainrl and by math-verify. False "correct" is a changed value that is judged correct, false
"wrong" a kept value that is not. What gainrl gets wrong, and what it and math-verify say differently, must be explained
in ``verifier_explained.json``; the exit status is 1 otherwise. DATA is the folder that GAINRL_DATA names.

FOLDER keeps every verdict, so that a run that was stopped goes on where it was: one file for each set and judge, whose
name holds the version of math-verify or a digest of gainrl's judge, and one file of disagreements for each set.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gainrl.rewards
from benchmarks.rewritings import CHANGING, KEEPING, rewritten
from gainrl.rewards.workers import WorkerPool

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
PAIRS_AT_A_TIME = 100
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


def judge(function: str, pairs: list[Pair], workers: int, known: Path) -> list[bool | None]:
    """What a judge says of each pair, None where it came to no end; asked only where the file does not say.

    Workers have a time limit. The file grows by some pairs at a time.
    """
    verdicts: dict[tuple[str, str, bool], bool | None] = {}
    if known.exists():
        for line in known.read_text(encoding="utf-8").splitlines():
            answer, reference, is_list, is_correct = json.loads(line)
            verdicts[answer, reference, is_list] = is_correct
    missing = [key for pair in pairs if (key := (pair.answer, pair.reference, pair.is_list)) not in verdicts]
    pool = WorkerPool(
        function=f"benchmarks.verifier_differential:{function}",
        workers=workers,
        time_limit_seconds=60.0,
        batch_limit_seconds=36_000.0,
        memory_limit_megabytes=2048,
    )
    for start in range(0, len(missing), PAIRS_AT_A_TIME):
        part = missing[start : start + PAIRS_AT_A_TIME]
        found = [outcome.result if outcome.status == "done" else None for outcome in pool.run(part)]
        verdicts |= dict(zip(part, found, strict=True))
        with known.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps([*key, verdicts[key]], ensure_ascii=False) + "\n" for key in part)
    pool.close()
    return [verdicts[pair.answer, pair.reference, pair.is_list] for pair in pairs]


def judges() -> dict[str, str]:
    """The function of each judge and the name of its files: its version, or a digest of its source."""
    digest = hashlib.sha256()
    for file in sorted(Path(gainrl.rewards.__path__[0]).glob("*.py")):
        digest.update(file.read_bytes())
    return {
        "gainrl_says": f"gainrl-{digest.hexdigest()[:12]}",
        "math_verify_says": f"math-verify-{version('math-verify')}",
    }


def explanation(entries: list[dict[str, str]], kind: str, pair: Pair) -> str | None:
    """Why a verdict is as it is: the first entry whose fields all fit; ``answer`` and ``reference`` are patterns."""
    for entry in entries:
        if (
            entry["kind"] == kind
            and entry.get("rewriting", pair.rewriting) == pair.rewriting
            and entry.get("id", pair.id) == pair.id
            and re.search(entry.get("answer", ""), pair.answer)
            and re.search(entry.get("reference", ""), pair.reference)
        ):
            return entry["reason"]
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description="The judge of answers against rewritten reference answers")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--each", type=int, default=2, help="rewritings of either kind for each reference")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="folder for verdicts and disagreements")
    options = parser.parse_args()
    entries = json.loads(EXPLAINED.read_text(encoding="utf-8"))
    totals: dict[str, Counter[str]] = {}
    reasons: Counter[tuple[str, str]] = Counter()
    options.out.mkdir(parents=True, exist_ok=True)
    print("set               kept  false wrong  math-verify  changed  false correct  math-verify")
    for name in options.sets:
        pairs = pairs_of(read_rows(options.data_dir, name), options.each)
        ours, theirs = (
            judge(function, pairs, options.workers, options.out / f"{name}.{file}.jsonl")
            for function, file in judges().items()
        )
        totals[name], listed = compared(pairs, ours, theirs, entries)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in listed)
        (options.out / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        print(row_of(name, totals[name]), flush=True)
        reasons.update((row["kind"], row["reason"] or "unexplained") for row in listed)
        for row in [row for row in listed if row["reason"] is None][:20]:
            print(f"  {row['kind']}: {row['rewriting']} of {row['reference']!r} ({row['id']}): {row['answer']!r}")
    print(row_of("all", sum(totals.values(), Counter())))
    for (kind, reason), count in sorted(reasons.items()):
        print(f"{count:6} {kind}: {reason}")
    unexplained = sum(count for (_, reason), count in reasons.items() if reason == "unexplained")
    print(f"{unexplained} disagreements without an explanation in {EXPLAINED.name}")
    return int(unexplained > 0)


def compared(
    pairs: list[Pair], ours: list[bool | None], theirs: list[bool | None], entries: list[dict[str, str]]
) -> tuple[Counter[str], list[dict[str, Any]]]:
    """The counts of a set, and every pair on which a judge is not right, with the reason."""
    counts: Counter[str] = Counter()
    listed = []
    for pair, our, their in zip(pairs, ours, theirs, strict=True):
        kept = "kept" if pair.same else "changed"
        verdicts = [bool(our), bool(their)]
        counts[kept] += 1
        counts[f"ours wrong, {kept}"] += verdicts[0] != pair.same
        counts[f"theirs wrong, {kept}"] += verdicts[1] != pair.same
        if verdicts == [pair.same, pair.same]:
            continue
        false = "false correct" if verdicts[0] else "false wrong"
        kind = false if verdicts[0] != pair.same else f"math-verify {'misses' if pair.same else 'accepts'}"
        reason = explanation(entries, kind, pair)
        listed.append(asdict(pair) | {"kind": kind, "gainrl": our, "math-verify": their, "reason": reason})
    return counts, listed


def row_of(name: str, count: Counter[str]) -> str:
    """One line of the table."""
    return (
        f"{name:14} {count['kept']:7} {count['ours wrong, kept']:12} {count['theirs wrong, kept']:12} "
        f"{count['changed']:8} {count['ours wrong, changed']:14} {count['theirs wrong, changed']:12}"
    )


if __name__ == "__main__":
    sys.exit(main())
