"""All benchmarks, one process each; their tables go to benchmarks/RESULTS.md.

python -m benchmarks --peer-python .venv-oracle/bin/python --data DIR       full: medians of 5 or more
python -m benchmarks --smoke --output /tmp/results.md                       seconds, without meaning
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.tables import GOAL, processor
from gainrl.files import cache_dir
from gainrl.training.precision_choice import has_bfloat16

_PACKAGES = ("torch", "transformers", "lightning", "numpy")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """``full`` and ``smoke``: arguments of the two forms; None where the form, or this machine, leaves it out."""

    title: str
    module: str
    full: list[str] | None
    smoke: list[str] | None


def benchmarks(peer: str | None, vllm: str | None, data: str | None) -> list[Benchmark]:
    beside = ["--peer-python", peer] if peer else []
    faster = [*beside, "--peer-micro-batches", "8"] if peer else []  # of TRL's two settings, as benchmark 1 shows
    engines = ["--paged"] + (["--vllm-python", vllm] if vllm else [])
    step = ["--prompts", "2", "--prompt-length", "6", "--group-size", "4", "--completion-length", "3", "--repeats", "1"]
    real = ["--shape", "smollm2", "--repeats", "3"]
    small = [*step, "--shape", "smollm2", "--prompts", "1", "--group-size", "2", "--completion-length", "2"]
    large = ["--goal-peer", "4.2", "--goal-floor", "1.6", "--goal-gib", "4"]
    return [
        Benchmark("0. A GRPO step on the shape of SmolLM2-135M", "grpo_step", [*beside, *real, *large], small),
        Benchmark(
            "0. The same in bf16-mixed",
            "grpo_step",
            [*beside, *real, "--precision", "bf16-mixed", "--goal-peer", "5.5"] if has_bfloat16(cuda=False) else None,
            None,
        ),
        Benchmark(
            "0. The same with one micro-batch of all tokens",
            "grpo_step",
            [*real, "--micro-batch-tokens", "16384"],
            None,
        ),
        Benchmark("1. A GRPO step", "grpo_step", [*beside, "--goal-peer", "2.5"], step),
        Benchmark("1. A GRPO step, two threads", "grpo_step", [*faster, "--threads", "2"], None),
        Benchmark(
            "2. Prompts of 256 tokens",
            "grpo_step",
            [*faster, "--prompt-length", "256", "--goal-peer", "5.5"],
            None,
        ),
        Benchmark(
            "2. Prompts of 256 tokens, two threads",
            "grpo_step",
            [*faster, "--prompt-length", "256", "--threads", "2"],
            None,
        ),
        Benchmark(
            "3. With a KL and two inner epochs",
            "grpo_step",
            [*faster, "--beta", "0.04", "--inner-epochs", "2", "--goal-peer", "2.5"],
            [*step, "--beta", "0.04", "--inner-epochs", "2"],
        ),
        Benchmark(
            "3. With a KL and two inner epochs, two threads",
            "grpo_step",
            [*faster, "--beta", "0.04", "--inner-epochs", "2", "--threads", "2"],
            None,
        ),
        Benchmark(
            "3. Half of the groups constant",
            "grpo_step",
            [*faster, "--half-constant", "--goal-peer", "3.2"],
            [*step, "--half-constant"],
        ),
        Benchmark(
            "3. Half of the groups constant, two threads",
            "grpo_step",
            [*faster, "--half-constant", "--threads", "2"],
            None,
        ),
        Benchmark(
            "4. Rollouts alone",
            "rollouts",
            engines,
            ["--prompts", "2", "--group-size", "2", "--completion-length", "3", "--repeats", "1"],
        ),
        Benchmark("4. Rollouts alone, two threads", "rollouts", ["--threads", "2"], None),
        Benchmark(
            "5. Memory of the update",
            "update_memory",
            [],
            ["--vocabulary", "2000", "--sequences", "2", "--length", "12", "--repeats", "1"],
        ),
        Benchmark("6. Scaling", "scaling", [], ["--small", "--repeats", "1", "--folder", "{folder}"]),
        Benchmark("7. Everything else", "overhead", [], ["--steps", "3", "debug=fast"]),
        Benchmark("8. Waiting", "startup", [], ["--repeats", "1", "--runs", "4"]),
        Benchmark("A million rows", "million_rows", ["build/bench"], None),
        Benchmark("Reading the concentration off the update", "concentration_cost", [], None),
        *(with_data(data) if data else []),
        *with_smollm2(),
    ]


def fetched() -> bool:
    """Whether ``make lm`` has put SmolLM2-135M into the cache."""
    return any((cache_dir() / "models").glob("SmolLM2-135M-Instruct.Q4_1-*"))


def with_smollm2() -> list[Benchmark]:
    """Those that run the pretrained weights."""
    full: list[str] | None = [] if fetched() else None
    return [
        Benchmark("Evaluation of SmolLM2-135M beside its rollouts", "evaluation", full, None),
        Benchmark("Log-probabilities of SmolLM2-135M in bfloat16", "precision", full, None),
    ]


def with_data(data: str) -> list[Benchmark]:
    """Those that need the published problems."""
    return [
        Benchmark("Answers judged", "verifier", ["--data-dir", data], None),
        Benchmark("Programs judged", "sandbox", ["--data-dir", data], None),
        Benchmark("The signal pass, two threads, 1,000 questions", "signal_pass", _signal(data, 2, 1000), None),
        Benchmark("The signal pass", "signal_pass", _signal(data, 1, 7473), None),
        Benchmark(
            "The signal pass of SmolLM2-135M, 100 questions",
            "signal_pass",
            [*_signal(data, 1, 100), "--model", "smollm2"],
            None,
        ),
    ]


def _signal(data: str, threads: int, prompts: int) -> list[str]:
    return ["--data", data, "--threads", str(threads), "--prompts", str(prompts)]


def goals(parts: dict[int, str]) -> str:
    """What was aimed at and what was reached, of all parts."""
    lines = [line for place in sorted(parts) for line in parts[place].splitlines()]
    found = [f"- {line.removeprefix(GOAL)}" for line in lines if line.startswith(GOAL)]
    return "\n".join(["\n## Goals", "", *found, ""]) if found else ""


def heading() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        "# Results of the benchmarks\n\n"
        f"Machine: {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}. "
        f"Python {platform.python_version()}, {packages}.\n\n"
        "Written by `make bench`; every table has both sides of one run. Each part says its command, how long it "
        "took, its date and its commit; `--only` replaces the parts that it runs.\n"
    )


def run(benchmark: Benchmark, arguments: list[str]) -> tuple[str, int]:
    """What a benchmark printed, under its title, and its exit status; what it says on errors goes to the terminal."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", f"benchmarks.{benchmark.module}", *arguments]
    # Each benchmark sets its threads; a limit in the environment would hold the two-threaded ones at one.
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {"OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    seconds = time.perf_counter() - begun
    text = done.stdout.strip() if done.returncode == 0 else f"Failed with status {done.returncode}."
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    made = f"{seconds:.0f} s, {time.strftime('%Y-%m-%d')}, commit {commit.stdout.strip() or 'unknown'}"
    # What a path is called on this machine says nothing elsewhere.
    shown = " ".join(f".../{Path(word).name}" if word.startswith("/") else word for word in ["python", *command[1:]])
    return f"\n## {benchmark.title}\n\n`{shown}` ({made})\n\n{text}\n", done.returncode


def parts_of(text: str, known: list[Benchmark]) -> dict[int, str]:
    """The parts of a file of results, by the place of their benchmark; parts of none are left out."""
    parts = {part.partition("\n")[0]: part for part in text.split("\n## ")[1:]}
    places = {benchmark.title: place for place, benchmark in enumerate(known)}
    return {places[title]: f"\n## {part}" for title, part in parts.items() if title in places}


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="the interpreter of an environment that holds TRL")
    parser.add_argument("--vllm-python", help="the interpreter of an environment that holds vLLM")
    parser.add_argument("--data", help="the folder with gsm8k_train.jsonl.gz, for the signal pass")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument(
        "--only",
        nargs="*",
        default=[],
        help="what to run: modules, such as scaling, or beginnings of titles, such as 0.",
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/RESULTS.md"))
    options = parser.parse_args(given)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    known = benchmarks(options.peer_python, options.vllm_python, options.data)
    texts, failures = {-1: heading()}, 0
    if options.only and options.output.exists():
        texts |= parts_of(options.output.read_text(), known)
    # Those on two threads come last, so that the other core is wanted in the second half only.
    for place in sorted(range(len(known)), key=lambda place: "two threads" in known[place].title):
        arguments = known[place].smoke if options.smoke else known[place].full
        asked = known[place].module in options.only or known[place].title.startswith(tuple(options.only))
        if arguments is None or (options.only and not asked):
            continue
        arguments = [argument.format(folder=options.output.parent) for argument in arguments]
        texts[place], status = run(known[place], arguments)
        print(texts[place], flush=True)
        failures += status != 0
        first, *others = (texts[written] for written in sorted(texts))
        options.output.write_text("".join([first, goals(texts), *others]))
    print(goals(texts), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
