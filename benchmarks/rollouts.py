"""Rollouts alone against ``model.generate`` with ``num_return_sequences``, at ragged lengths.

    python -m benchmarks.rollouts
    python -m benchmarks.rollouts --paged                                transformers' continuous batching as well
    python -m benchmarks.rollouts --vllm-python .venv-vllm/bin/python    vLLM on the same processor as well

Prompts have 4 to 128 tokens; completions end at one of 8 stop ids of 320 or after 128 tokens. The first round of each
side warms up; for vLLM the start of the engine and the loading of the weights fall into it. vLLM runs after the others,
in a process of its own; the others take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.tables import print_table
from benchmarks.workload import build_model, build_policy, build_prompts
from gainrl.functional.streams import stream_key
from gainrl.rollouts.hf import HFEngine
from gainrl.rollouts.paged import PagedEngine
from gainrl.types import Policy, PromptTokens, RolloutEngine, SamplingParams

Figures = tuple[float, float, float]


def measure(runs: Mapping[str, Callable[[int], int]], repeats: int) -> list[tuple[str, Figures]]:
    """Of each side the medians of wall seconds, processor seconds and tokens per processor second.

    The sides take turns, so that the machine's other work meets them alike; the first round warms up.
    """
    rounds: dict[str, list[Figures]] = {name: [] for name in runs}
    for index in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter(), time.process_time()
            tokens = run(index)
            wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
            rounds[name].append((wall, cpu, tokens / cpu))
    return [(name, medians(of_side[1:])) for name, of_side in rounds.items()]


def medians(rounds: Sequence[Figures]) -> Figures:
    wall, cpu, speed = map(statistics.median, zip(*rounds, strict=True))
    return wall, cpu, speed


def build_subject() -> Policy:
    policy = build_policy(build_model(), stop_ids=tuple(range(2, 10)))
    policy.model.eval()
    return policy


def prompts_of(index: int, options: argparse.Namespace) -> list[PromptTokens]:
    return build_prompts(options.prompts, 66, spread=62, seed=index)  # 4 to 128 tokens


def rounds(engine: RolloutEngine, policy: Policy, options: argparse.Namespace) -> Callable[[int], int]:
    """A round of rollouts by its number; returns how many tokens were written."""
    sampling = SamplingParams(group_size=options.group_size, max_new_tokens=options.completion_length)

    def run(index: int) -> int:
        keys = torch.tensor([stream_key(0, "benchmark", index, place) for place in range(options.prompts)])
        return int(engine.generate(policy, prompts_of(index, options), sampling, keys).lengths.sum())

    return run


def plain_rounds(policy: Policy, options: argparse.Namespace) -> Callable[[int], int]:
    """The same by ``model.generate``."""

    def run(index: int) -> int:
        prompts = prompts_of(index, options)
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt.ids) for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        torch.manual_seed(index)
        output = policy.model.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            num_return_sequences=options.group_size,
            max_new_tokens=options.completion_length,
            eos_token_id=list(policy.stop_ids),
            pad_token_id=0,
        )[:, width:]
        stops = torch.isin(output, torch.tensor(policy.stop_ids))
        ends = torch.where(stops.any(1), stops.int().argmax(1) + 1, output.shape[1])
        return int(ends.sum())

    return run


def vllm_figures(options: argparse.Namespace) -> tuple[str, Figures]:
    """vLLM's name with its version, and its figures, from the environment that holds it."""
    settings = {name: value for name, value in vars(options).items() if name != "vllm_python"}
    done = subprocess.run(
        [options.vllm_python, "-m", "benchmarks.vllm_peer", json.dumps(settings)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    if done.returncode:
        raise SystemExit(f"vLLM failed:\n{done.stderr[-3000:]}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    wall, cpu, speed = result["figures"]
    return f"vLLM {result['version']}", (wall, cpu, speed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm-python", help="the interpreter of an environment that holds gainrl and vLLM")
    parser.add_argument("--paged", action="store_true", help="measure rollout=paged as well")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--completion-length", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    policy = build_subject()
    runs = {"gainrl": rounds(HFEngine(), policy, options), "model.generate": plain_rounds(policy, options)}
    if options.paged:
        runs["rollout=paged"] = rounds(PagedEngine(page_size=16), policy, options)
    sides = measure(runs, options.repeats)
    if options.vllm_python:
        sides.append(vllm_figures(options))
    own = sides[0][1]
    print_table(
        ["side", "wall s", "processor s", "tokens per processor s", "times slower than gainrl"],
        [
            [name, wall, cpu, speed, f"{wall / own[0]:.2f} wall, {own[2] / speed:.2f} processor per token"]
            for name, (wall, cpu, speed) in sides
        ],
    )


if __name__ == "__main__":
    main()
