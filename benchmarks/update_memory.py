"""Peak memory of the update at a large vocabulary: chunked log-probabilities against full logits.

    python -m benchmarks.update_memory

Each side runs in a process of its own; memory is the peak of the process above what it held before the update.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from typing import Any

import torch

from benchmarks.tables import print_table
from benchmarks.workload import build_model, build_policy, build_prompts
from gainrl.functional.logprobs import selective_logprobs
from gainrl.models.scoring import completion_scores
from gainrl.training.upkeep.peak import PeakMemory


def run_side(side: str, options: argparse.Namespace, results: Any) -> None:
    """Puts peak MiB, wall seconds, processor seconds and a sample of the gradient into the queue ``results``."""
    torch.set_num_threads(options.threads)
    policy = build_policy(build_model(layers=2, width=64, inner_width=192, heads=2, vocabulary=options.vocabulary))
    prompt_length = options.length // 2
    prompts = build_prompts(options.sequences, prompt_length)
    count = options.length - prompt_length
    ids = torch.randint(2, options.vocabulary, (options.sequences, count), generator=torch.Generator().manual_seed(1))
    lengths = torch.full((options.sequences,), count)
    for parameter in policy.model.parameters():
        parameter.grad = torch.zeros_like(parameter)  # the gradients themselves are the same on both sides
    memory = PeakMemory(cuda=False)
    memory.begin()
    start = time.perf_counter(), time.process_time()
    if side == "full logits":
        tokens = torch.cat([torch.tensor([prompt.ids for prompt in prompts]), ids], dim=1)
        logits = policy.model(input_ids=tokens, use_cache=False).logits[:, prompt_length - 1 : -1]
        selective_logprobs(logits, ids).mean().backward()
    else:
        logprobs = completion_scores(policy, prompts, ids, lengths, 1).logprobs
        assert logprobs is not None
        logprobs.mean().backward()
    used = memory.most() - memory.before
    seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    gradient = torch.cat([parameter.grad.flatten() for parameter in policy.model.parameters()])
    results.put((used / 2**20, *seconds, gradient[:: options.vocabulary // 1000].numpy()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    medians: dict[str, tuple[float, ...]] = {}
    gradients: dict[str, torch.Tensor] = {}
    for side in ("gainrl", "full logits"):
        runs = []
        for _ in range(options.repeats):
            results = context.SimpleQueue()
            process = context.Process(target=run_side, args=(side, options, results))
            process.start()
            run = results.get()
            process.join()
            runs.append(run[:3])
            gradients[side] = torch.from_numpy(run[3])
        medians[side] = tuple(statistics.median(column) for column in zip(*runs, strict=True))
    own = medians["gainrl"]
    difference = (gradients["gainrl"] - gradients["full logits"]).norm() / gradients["full logits"].norm()
    print_table(
        ["side", "peak MiB", "wall s", "processor s", "memory against gainrl"],
        [[side, *values, f"{values[0] / own[0]:.1f}"] for side, values in medians.items()],
    )
    print(f"relative difference of the gradients (every {options.vocabulary // 1000}th entry): {difference:.1e}")


if __name__ == "__main__":
    sys.exit(main())
