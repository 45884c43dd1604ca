"""What only a GPU decides, in one command of at most eight minutes; writes benchmarks/GPU.md.

    make gpu-check                              all checks, on one GPU
    make gpu-check ARGS="--only 2 3"            some of them; the others stay in the file
    make gpu-check ARGS="--wheels DIR"          installs what is missing from a folder first, without a network
    make gpu-smoke                              on any machine, at sizes without meaning

Make DIR where there is a network, with the Python and the processor of the GPU's machine:

    pip wheel --wheel-dir DIR . trl

The checks run in a process of their own. One that crashes or takes too long is recorded as failed, and the next goes on
in a new process. What has not begun when the time is over is listed as not run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MINUTES, LONGEST = 8.0, 150.0  # of all, in minutes; of one check, in seconds
PATIENCE = 4  # how much longer the smoke form may take, on a machine that has other work


def missing() -> list[str]:
    """Requirements of gainrl and of the checks that are not installed here."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    absent = []
    for requirement in [*wanted, "peft", "trl"]:
        name = re.split(r"[\[<>=~! ;]", requirement)[0]
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(requirement)
    return absent


def install(wheels: Path) -> None:
    """Installs what is missing from wheels in a folder. Raises SystemExit where that fails."""
    absent = missing()
    if not absent:
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(wheels)]
    done = [subprocess.run([*command, one], check=False).returncode for one in absent]
    failed = [one for one, code in zip(absent, done, strict=True) if code and not one.startswith("trl")]
    if failed:
        raise SystemExit(f"{wheels} has no wheels for {', '.join(failed)}; see the top of benchmarks/gpu/__main__.py")


def worker(numbers: Sequence[int], folder: Path, results: Path, *, smoke: bool, peer: str | None) -> None:
    """Runs checks one after the other; a line of JSON in ``results`` when one begins and one when it has ended."""
    from benchmarks.gpu.check import Outcome, Setting
    from benchmarks.gpu.checks import CHECKS
    from benchmarks.gpu.speed import has_trl

    setting = Setting(folder=folder, smoke=smoke, peer=peer or (None if smoke else has_trl()))
    checks = {check.number: check for check in CHECKS}
    with results.open("a") as file:
        for number in numbers:
            print(json.dumps({"begins": number}), file=file, flush=True)
            begun = time.perf_counter()
            try:
                outcome = checks[number].run(setting)
            except Exception as fault:
                text = " ".join(f"{type(fault).__name__}: {fault}".split())
                outcome = Outcome({"failed": text[:300]}, False)
            outcome.seconds = time.perf_counter() - begun
            print(json.dumps({"number": number, **outcome.as_dict()}), file=file, flush=True)


def supervise(
    command: Sequence[str], numbers: Sequence[int], results: Path, *, seconds: float, longest: float = LONGEST
) -> dict[int, dict[str, Any]]:
    """Outcomes by check: starts ``command`` with the numbers that are left until none is, or the time is over."""
    until = time.monotonic() + seconds
    found: dict[int, dict[str, Any]] = {}
    while left := [number for number in numbers if number not in found]:
        if time.monotonic() >= until:
            return found | {number: _without("not run: the time was over") for number in left}
        results.write_text("")
        process = subprocess.Popen([*command, *map(str, left)], start_new_session=True)
        try:
            _follow(process, results, left[0], found, until=until, longest=longest)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the runs that a check has started too
            process.wait()
    return found


def _follow(
    process: subprocess.Popen[bytes],
    results: Path,
    current: int,
    found: dict[int, dict[str, Any]],
    *,
    until: float,
    longest: float,
) -> None:
    """Adds outcomes to ``found`` as they come, until the process ends or the check ``current`` takes too long."""
    since = time.monotonic()
    while True:
        ended = process.poll() is not None
        for line in results.read_text().splitlines():
            record = json.loads(line)
            if "begins" in record and record["begins"] not in found and record["begins"] != current:
                current, since = record["begins"], time.monotonic()
            elif "number" in record and record["number"] not in found:
                found[record["number"]] = record
                _tell(record)
        if ended:
            found.setdefault(current, _without(f"the process ended with {process.returncode}"))
            return
        if time.monotonic() - since > longest or time.monotonic() >= until:
            found.setdefault(current, _without(f"ended after {time.monotonic() - since:.0f} s"))
            return
        time.sleep(0.2)


def _without(reason: str) -> dict[str, Any]:
    return {"figures": {"failed": reason}, "passed": False, "table": [], "seconds": 0.0}


def _tell(record: dict[str, Any]) -> None:
    figures = "; ".join(f"{name} {value}" for name, value in record["figures"].items())
    print(f"{record['number']:>2}  {_verdict(record['passed']):<7}  {figures}", flush=True)


def _verdict(passed: bool | None) -> str:
    return {True: "passed", False: "FAILED", None: "figures"}[passed]


def page(found: dict[int, dict[str, Any]], before: str, *, smoke: bool) -> str:
    """The file: a row for each check, then their tables. Checks that did not run now keep what ``before`` says."""
    from benchmarks.gpu.checks import CHECKS

    kept = {int(line.split("|")[1]): line for line in before.splitlines() if re.match(r"\| *\d+ \|", line)}
    tables = {int(part.split(".")[0]): part.rstrip() for part in before.split("\n## ")[1:]}
    rows = []
    for check in sorted(CHECKS, key=lambda check: check.number):
        record = found.get(check.number)
        if record is not None:
            figures = "; ".join(f"{name} {value}" for name, value in record["figures"].items()).replace("|", "/")
            cells = (check.title, figures, check.bar, _verdict(record["passed"]), f"{record['seconds']:.0f}")
            kept[check.number] = f"| {check.number} | " + " | ".join(cells) + " |"
            tables.pop(check.number, None)
            if record["table"]:
                tables[check.number] = f"{check.number}. {check.title}\n\n" + "\n".join(record["table"])
        if check.number in kept:
            rows.append(kept[check.number])
    sizes = "**In the smoke form: sizes without meaning, on a CPU.**\n\n" if smoke else ""
    head = f"# The checks on a GPU\n\n{sizes}{machine()}\n\nWritten by `make gpu-check`.\n\n"
    head += "| # | what | found | passes at | | s |\n|---:|---|---|---|---|---:|\n"
    details = "".join(f"\n## {tables[number]}\n" for number in sorted(tables))
    return head + "\n".join(rows) + "\n" + details


def machine() -> str:
    import torch

    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers"))
    device = " and ".join(names) or "no GPU"
    return f"{device}, {versions}, {time.strftime('%Y-%m-%d')}, commit {commit.stdout.strip() or 'unknown'}."


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, nargs="*", default=[], help="numbers of checks")
    parser.add_argument("--smoke", action="store_true", help="sizes without meaning, on any machine")
    parser.add_argument("--wheels", type=Path, help="a folder from which to install what is missing")
    parser.add_argument("--peer-python", help="the interpreter of an environment with TRL, if this one has none")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="when to stop")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "GPU.md")
    parser.add_argument("--worker", type=Path, nargs=2, metavar=("FOLDER", "RESULTS"), help=argparse.SUPPRESS)
    parser.add_argument("numbers", type=int, nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    begun = time.monotonic()
    if options.worker:
        worker(options.numbers, *options.worker, smoke=options.smoke, peer=options.peer_python)
        return 0
    if options.wheels:
        install(options.wheels)
    import torch

    from benchmarks.gpu.checks import CHECKS

    known = [check.number for check in CHECKS]
    if strangers := set(options.only) - set(known):
        raise SystemExit(f"--only {min(strangers)}: there is no such check; use {', '.join(map(str, sorted(known)))}")
    if not options.smoke and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; type --smoke --output FILE to try the checks on a CPU")
    chosen = [number for number in known if not options.only or number in options.only]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        command = [sys.executable, "-m", "benchmarks.gpu", "--worker", str(folder), str(folder / "results")]
        command += ["--smoke"] if options.smoke else []
        command += ["--peer-python", options.peer_python] if options.peer_python else []
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        patience = PATIENCE if options.smoke else 1
        left = patience * 60 * options.minutes - (time.monotonic() - begun)
        found = supervise(command, chosen, folder / "results", seconds=left, longest=patience * LONGEST)
    before = options.output.read_text() if options.output.exists() else ""
    options.output.parent.mkdir(parents=True, exist_ok=True)
    text = page(found, before, smoke=options.smoke)
    options.output.write_text(text)
    print("\n" + text)
    return 1 if any(record["passed"] is False for record in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
