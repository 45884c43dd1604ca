"""Types malformed inputs into ``gainrl-train``, one after the other in this process, and reports how each ended.

    python -m benchmarks.malformed [--count 500] [--seed 0] [--shard 0/2] [--only data|settings|template|reward|model]
        [--show]

An input passes if the command ends with code 1 and one message that names what is wrong, without a traceback, before a
run begins and without a file written. Exits with 1 if any does not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.malformed import data, settings
from benchmarks.malformed import parts as brought
from benchmarks.malformed.case import Case, distinct
from benchmarks.malformed.command import Ending, sound_model, typed

GENERATORS = [
    generator
    for of_each_kind in zip(data.GENERATORS, settings.GENERATORS * 2, brought.GENERATORS * 2, strict=False)
    for generator in of_each_kind
]


def cases(count: int, seed: int) -> list[Case]:
    """``count`` different malformed inputs of all kinds; equal for an equal seed."""
    return list(distinct(GENERATORS, count, seed))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=None)
    parser.add_argument("--shard", default="0/1", help="which part of how many, to run several commands at once")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    part, parts = map(int, options.shard.split("/"))
    chosen = [case for case in cases(options.count, options.seed)[part::parts] if options.only in (None, case.kind)]
    failed: list[tuple[Case, Ending]] = []
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        model = sound_model(Path(folder))
        for number, case in enumerate(chosen):
            ending = typed(case, Path(folder, str(number)), model)
            if ending.faults(case):
                failed.append((case, ending))
            if options.show or ending.faults(case):
                print(f"{case.kind}: {case.name} {' '.join(case.settings)}\n  {'; '.join(ending.faults(case)) or 'ok'}")
                print("    " + ending.text.strip()[-700:].replace("\n", "\n    "), flush=True)
    seconds = time.perf_counter() - start
    kinds = Counter(case.kind for case in chosen)
    print(", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())))
    print(f"{len(chosen) - len(failed)} of {len(chosen)} malformed inputs ended as they should, in {seconds:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
