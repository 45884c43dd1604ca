r"""How much cheaper the signal pass is than the published procedure, side by side on this machine.

    python -m benchmarks.signal_pass --data DIR [--prompts 1000] [--threads 1] [--device cpu]
    python -m benchmarks.signal_pass --data DIR --model smollm2 --prompts 100      the pretrained model of make lm

The published procedure runs one full prompt at a time with the whole model, hooks the input of the last block's MLP
and averages the T x T cosine matrix. Both sides compute C_intra + C_inter of the same GSM8K training questions with
the same model (Qwen2 architecture, 4 layers, width 256, byte-level tokens) and have to agree. Their multiply-adds are
counted beside their seconds: on a processor that multiplies at one rate whatever the batch, fewer multiply-adds are
all that can be gained. With ``--model smollm2`` both sides run SmolLM2-135M on the prompts that a run makes of the
questions, and a third pass runs under autocast to bfloat16. System text and worked example are our own words of the
published lengths (278, 12, 88 bytes).
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, Qwen2Config

from benchmarks.bases import composed
from benchmarks.tables import print_goal, print_table
from gainrl.functional.association import spearman
from gainrl.signals import angle, prefill_batch, shared_prefix
from gainrl.signals.angle import AngleSignal
from gainrl.signals.prefill import PrefillPass
from gainrl.training.precision_choice import has_bfloat16
from gainrl.types import Policy, Problem, PromptTokens

SYSTEM = (
    "You are an assistant who solves mathematics problems for a user. Before answering, think about the problem "
    "quietly and work through it in little steps, checking each of them as you go. Then write down the solution for "
    r"the user and end with the final result, written as \boxed{}."
)
EXAMPLE = ("What's 2 + 2", r"Adding the two numbers 2 and 2 together makes 4, so that the final result is: \boxed{4}.")
LAYOUT = (
    f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{EXAMPLE[0]}<|im_end|>\n"
    f"<|im_start|>assistant\n{EXAMPLE[1]}<|im_end|>\n<|im_start|>user\n",
    "<|im_end|>\n<|im_start|>assistant\n",
)


def gsm8k_prompts(data: Path, count: int) -> tuple[list[Problem], list[PromptTokens]]:
    """The first ``count`` training questions as byte-level prompts in the published layout."""
    with gzip.open(data / "gsm8k_train.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]
    prefix, closing = (text.encode() for text in LAYOUT)
    problems, prompts = [], []
    for record in records:
        question = list(record["problem"].strip().encode())
        start, end = len(prefix), len(prefix) + len(question)
        prompts.append(PromptTokens((*prefix, *question, *closing), {"question": (start, end)}))
        problems.append(Problem(id=record["id"], question=record["problem"], reference_answer=record["answer"]))
    return problems, prompts


def real_prompts(data: Path, count: int) -> tuple[Policy, list[Problem], list[PromptTokens]]:
    """SmolLM2-135M, and the first ``count`` training questions as its template asks them."""
    config = composed(["model=smollm2_135m_q4", "dataset=gsm8k", f"data_dir={data}"])
    source = instantiate(config.model, _convert_="all")
    train = instantiate(config.dataset, _convert_="all").train
    problems = [train[row] for row in range(count)]
    policy = source.load()
    policy.model.eval()
    template = instantiate(config.template, _convert_="all").bind(policy.tokenizer)
    return policy, problems, template.encode_problems(problems)


def byte_model() -> Policy:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=256,
        hidden_size=256,
        intermediate_size=1408,  # the ratio of the Qwen2 family, about 5.4
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
    )
    return Policy(AutoModelForCausalLM.from_config(config).eval(), tokenizer=None, stop_ids=(0,), pad_id=0)


@torch.no_grad()
def published_procedure(policy: Policy, prompts: list[PromptTokens]) -> np.ndarray:
    """One full prompt at a time, a hook, and the matrix of all cosines."""
    kept: list[Tensor] = []
    projection: nn.Module = policy.model.model.layers[-1].mlp.up_proj
    handle = projection.register_forward_pre_hook(lambda module, args: kept.append(args[0][0]))
    values = np.empty(len(prompts))
    for row, prompt in enumerate(prompts):
        policy.model(torch.tensor([prompt.ids], device=policy.device))
        unit = nn.functional.normalize(kept.pop().float(), dim=1)
        cosines = unit @ unit.T
        start, end = prompt.question
        values[row] = float(cosines[start:end, start:end].mean() + cosines[start:end, :start].mean())
    handle.remove()
    return values


@contextmanager
def timed_arithmetic() -> Iterator[list[float]]:
    """Seconds spent in the sums of directions and the concentrations, in the list."""
    spent: list[float] = []
    originals = {}

    def timed(function):  # type: ignore[no-untyped-def]
        def call(*args, **kwargs):  # type: ignore[no-untyped-def]
            start = time.perf_counter()
            result = function(*args, **kwargs)
            spent.append(time.perf_counter() - start)
            return result

        return call

    places = [
        (angle, "direction_sums"),
        (angle, "weighted_concentration"),
        (prefill_batch, "direction_sums"),
        (shared_prefix, "direction_sums"),
    ]
    for module, name in places:
        originals[module, name] = getattr(module, name)
        setattr(module, name, timed(originals[module, name]))
    try:
        yield spent
    finally:
        for (module, name), function in originals.items():
            setattr(module, name, function)


def peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_pass(policy: Policy, problems: list[Problem], prompts: list[PromptTokens]) -> tuple[np.ndarray, PrefillPass]:
    pass_ = PrefillPass([AngleSignal()], problems, prompts, policy)
    values = np.empty(len(prompts))
    for rows in pass_.batches:
        values[rows] = pass_.measure(rows)[0]
    return values, pass_


@dataclass(frozen=True, slots=True)
class Work:
    """Multiply-adds, in units of 1e9, by what they are for."""

    projections: float
    attention: float
    head: float
    cosines: float

    @property
    def total(self) -> float:
        return self.projections + self.attention + self.head + self.cosines


def published_work(policy: Policy, prompts: list[PromptTokens]) -> Work:
    lengths = np.array([len(prompt) for prompt in prompts], np.float64)
    config, weights = policy.model.config, _projection_weights(policy)
    pairs = lengths * (lengths + 1) / 2  # the kernel leaves out what causality hides
    return Work(
        projections=weights * config.num_hidden_layers * lengths.sum() / 1e9,
        attention=_attention_per_pair(policy) * pairs.sum() / 1e9,
        head=config.vocab_size * config.hidden_size * lengths.sum() / 1e9,
        cosines=config.hidden_size * np.square(lengths).sum() / 1e9,
    )


def pass_work(policy: Policy, prefix: int, tails: np.ndarray) -> Work:
    """Of the pass over ``tails`` tokens behind ``prefix`` shared ones; the last block ends where its MLP begins."""
    config, tails = policy.model.config, tails.astype(np.float64)
    mlp = 3 * config.hidden_size * config.intermediate_size
    weights = _projection_weights(policy) * config.num_hidden_layers
    pairs = prefix * (prefix + 1) / 2 + (tails * prefix + tails * (tails + 1) / 2).sum()
    return Work(
        projections=(weights * prefix + (weights - mlp) * tails.sum()) / 1e9,  # the prefix runs to the end, once
        attention=_attention_per_pair(policy) * pairs / 1e9,
        head=0.0,
        cosines=0.0,
    )


def _projection_weights(policy: Policy) -> int:
    return sum(
        module.weight.numel() for module in policy.model.model.layers[0].modules() if isinstance(module, nn.Linear)
    )


def _attention_per_pair(policy: Policy) -> int:
    """Scores and weighted values of one query and one key, over all heads and blocks."""
    return 2 * policy.model.config.hidden_size * policy.model.config.num_hidden_layers


def side_by_side(
    policy: Policy, problems: list[Problem], prompts: list[PromptTokens]
) -> tuple[np.ndarray, np.ndarray, PrefillPass]:
    """Both sides' values and seconds (``[2, N]`` and ``[2]``), a batch of ours and its prompts one by one in turn.

    Whatever else the machine does then slows both sides alike.
    """
    values, seconds = np.empty((2, len(prompts))), np.zeros(2)
    start = time.perf_counter()
    pass_ = PrefillPass([AngleSignal()], problems, prompts, policy)
    seconds[1] += time.perf_counter() - start
    for rows in pass_.batches:
        start = time.perf_counter()
        values[1, rows] = pass_.measure(rows)[0]
        middle = time.perf_counter()
        values[0, rows] = published_procedure(policy, [prompts[row] for row in rows])
        seconds += [time.perf_counter() - middle, middle - start]
    return values, seconds, pass_


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds gsm8k_train.jsonl.gz")
    parser.add_argument("--prompts", type=int, default=7473, help="use the first so many questions")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", choices=["bytes", "smollm2"], default="bytes")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.model == "smollm2":
        policy, problems, prompts = real_prompts(arguments.data, arguments.prompts)
    else:
        problems, prompts = gsm8k_prompts(arguments.data, arguments.prompts)
        policy = byte_model()
    policy.model.to(arguments.device)
    published_procedure(policy, prompts[:3])
    run_pass(policy, problems[:64], prompts[:64])

    # A quarter of the longest prompts and then all of them: the peak must not move when there are four times as many.
    longest = np.argsort([-len(prompt) for prompt in prompts], kind="stable")[: max(1, len(prompts) // 4)]
    run_pass(policy, [problems[row] for row in longest], [prompts[row] for row in longest])
    peaks = [peak_mebibytes()]
    with timed_arithmetic() as spent:
        values, seconds, pass_ = side_by_side(policy, problems, prompts)
    peaks.append(peak_mebibytes())

    tokens = sum(map(len, prompts))
    prefix = len(prompts[0].ids[: prompts[0].prefix_length])
    work = published_work(policy, prompts), pass_work(policy, prefix, pass_.tail_lengths)
    parts = ("projections", "attention", "head", "cosines", "total")
    rows = [
        ("prompts", f"{len(prompts)}", f"{len(prompts)}"),
        ("tokens run", f"{tokens}", f"{prefix + int(pass_.tail_lengths.sum())}"),
        *((f"1e9 multiply-adds: {part}", *(f"{getattr(side, part):.1f}" for side in work)) for part in parts),
        ("times fewer multiply-adds", "1.00", f"{work[0].total / work[1].total:.2f}"),
        ("seconds", f"{seconds[0]:.1f}", f"{seconds[1]:.1f}"),
        ("prompts per second", f"{len(prompts) / seconds[0]:.1f}", f"{len(prompts) / seconds[1]:.1f}"),
        ("times faster", "1.00", f"{seconds[0] / seconds[1]:.2f}"),
        ("1e9 multiply-adds per second", *(f"{work[side].total / seconds[side]:.1f}" for side in (0, 1))),
        ("angle arithmetic, share of time", "", f"{sum(spent) / seconds[1]:.2%}"),
        ("padding", "", f"{pass_.padding_share:.2%}"),
        ("peak MiB, the longest quarter of the prompts", "", f"{peaks[0]:.0f}"),
        ("peak MiB, all prompts (both sides)", "", f"{peaks[1]:.0f}"),
        ("largest difference of values", "", f"{np.abs(values[0] - values[1]).max():.1e}"),
    ]
    print_table(["signal pass", "published", "gainrl"], rows)
    if arguments.model == "smollm2":
        fewer, faster = work[0].total / work[1].total, seconds[0] / seconds[1]
        print_goal("signal pass of SmolLM2-135M", 0.95, faster / fewer, "of the ratio of multiply-adds")
        in_bfloat16(policy, problems, prompts, values[1])


def in_bfloat16(policy: Policy, problems: list[Problem], prompts: list[PromptTokens], exact: np.ndarray) -> None:
    """The pass under autocast, in turn with one in float32."""
    seconds = np.zeros(2)
    low = np.empty(len(prompts))
    whole = PrefillPass([AngleSignal()], problems, prompts, policy)
    with torch.autocast(policy.device.type, torch.bfloat16):
        mixed = PrefillPass([AngleSignal()], problems, prompts, policy)
    for ours, theirs in zip(whole.batches, mixed.batches, strict=True):
        start = time.perf_counter()
        whole.measure(ours)
        middle = time.perf_counter()
        with torch.autocast(policy.device.type, torch.bfloat16):
            low[theirs] = mixed.measure(theirs)[0]
        seconds += [middle - start, time.perf_counter() - middle]
    rank = spearman(exact, low).value
    hardware = has_bfloat16(cuda=policy.device.type == "cuda")
    units = "with" if hardware else "without"
    print(f"In bfloat16, {units} units for it: {seconds[1]:.1f} s, in float32 {seconds[0]:.1f} s\n")
    print_goal("the same in bfloat16, order of prompts", 0.999, rank, "Spearman to float32")
    if hardware:
        print_goal("the same in bfloat16", 2.0, seconds[0] / seconds[1], "times faster than float32")


if __name__ == "__main__":
    main()
